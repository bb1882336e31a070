import type { RemoveContainerRequest, RemoveContainerResponse } from '../gen/runtime/v1/api.ts';
import { removeContainer } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { required } from './invalid.ts';

export const removeContainerRpc: UnaryHandler<
  RemoveContainerRequest,
  RemoveContainerResponse
> = async ({ pods }, request, { signal }) => {
  await removeContainer(pods, required('container_id', request.containerId), signal);
  return {};
};
