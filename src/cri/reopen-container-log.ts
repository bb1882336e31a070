import type {
  ReopenContainerLogRequest,
  ReopenContainerLogResponse,
} from '../gen/runtime/v1/api.ts';
import { reopenContainerLog } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { required } from './invalid.ts';

export const reopenContainerLogRpc: UnaryHandler<
  ReopenContainerLogRequest,
  ReopenContainerLogResponse
> = async ({ pods }, request, { signal }) => {
  await reopenContainerLog(pods, required('container_id', request.containerId), signal);
  return {};
};
