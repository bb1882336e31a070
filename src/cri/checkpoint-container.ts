import type {
  CheckpointContainerRequest,
  CheckpointContainerResponse,
} from '../gen/runtime/v1/api.ts';
import { checkpointContainer } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { invalid, noNul, required, toNumber } from './invalid.ts';

export const checkpointContainerRpc: UnaryHandler<
  CheckpointContainerRequest,
  CheckpointContainerResponse
> = async ({ pods }, request, { signal }) => {
  const containerId = required('container_id', request.containerId);
  const location = noNul('location', required('location', request.location));
  if (!location.startsWith('/')) throw invalid('location', `"${location}" is not absolute`);
  const timeout = toNumber('timeout', request.timeout);
  if (timeout < 0) throw invalid('timeout', `${timeout} is negative`);
  await checkpointContainer(pods, { containerId, location, timeout }, signal);
  return {};
};
