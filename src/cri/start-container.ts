import type { StartContainerRequest, StartContainerResponse } from '../gen/runtime/v1/api.ts';
import { startContainer } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { required } from './invalid.ts';

export const startContainerRpc: UnaryHandler<
  StartContainerRequest,
  StartContainerResponse
> = async ({ pods }, request, { signal }) => {
  await startContainer(pods, required('container_id', request.containerId), signal);
  return {};
};
