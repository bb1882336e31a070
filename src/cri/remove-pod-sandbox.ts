import type { RemovePodSandboxRequest, RemovePodSandboxResponse } from '../gen/runtime/v1/api.ts';
import { removeSandbox } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { required } from './invalid.ts';

export const removePodSandbox: UnaryHandler<
  RemovePodSandboxRequest,
  RemovePodSandboxResponse
> = async ({ pods }, request, { signal }) => {
  await removeSandbox(pods, required('pod_sandbox_id', request.podSandboxId), signal);
  return {};
};
