import type { StopPodSandboxRequest, StopPodSandboxResponse } from '../gen/runtime/v1/api.ts';
import { stopSandbox } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { required } from './invalid.ts';

export const stopPodSandbox: UnaryHandler<StopPodSandboxRequest, StopPodSandboxResponse> = async (
  { pods },
  request,
  { signal },
) => {
  await stopSandbox(pods, required('pod_sandbox_id', request.podSandboxId), signal);
  return {};
};
