import type { RunPodSandboxRequest, RunPodSandboxResponse } from '../gen/runtime/v1/api.ts';
import { runSandbox } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { toSandboxConfig } from './sandbox-config.ts';

export const runPodSandbox: UnaryHandler<RunPodSandboxRequest, RunPodSandboxResponse> = async (
  { pods },
  request,
  { signal },
) => {
  const config = toSandboxConfig(request.config);
  return { podSandboxId: await runSandbox(pods, config, request.runtimeHandler, signal) };
};
