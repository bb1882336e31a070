import type { StopContainerRequest, StopContainerResponse } from '../gen/runtime/v1/api.ts';
import { stopContainer } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { required, toNumber } from './invalid.ts';

export const stopContainerRpc: UnaryHandler<StopContainerRequest, StopContainerResponse> = async (
  { pods },
  request,
  { signal },
) => {
  const id = required('container_id', request.containerId);
  const timeout = Math.max(0, toNumber('timeout', request.timeout));
  // One that was never started stays as it is: it can still be started, or removed.
  if (pods.containers.find(id)?.state.phase === 'running') {
    await stopContainer(pods, id, timeout, signal);
  }
  return {};
};
