import type { StopContainerRequest, StopContainerResponse } from '../gen/runtime/v1/api.ts';
import { stopStarted } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { required, toNumber } from './invalid.ts';

export const stopContainerRpc: UnaryHandler<StopContainerRequest, StopContainerResponse> = async (
  { pods },
  request,
  { signal },
) => {
  const id = required('container_id', request.containerId);
  const timeout = Math.max(0, toNumber('timeout', request.timeout));
  await stopStarted(pods, id, timeout, signal);
  return {};
};
