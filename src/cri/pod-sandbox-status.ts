import { type PodSandboxStatusRequest, PodSandboxStatusResponse } from '../gen/runtime/v1/api.ts';
import type { UnaryHandler } from './context.ts';
import { required } from './invalid.ts';
import { sandboxStatus } from './status-messages.ts';

export const podSandboxStatus: UnaryHandler<PodSandboxStatusRequest, PodSandboxStatusResponse> = (
  { pods },
  request,
) => {
  const record = pods.sandboxes.get(required('pod_sandbox_id', request.podSandboxId));
  const { config, init, namespaces, cgroupParent } = record;
  return PodSandboxStatusResponse.fromPartial({
    status: sandboxStatus(record),
    info: request.verbose
      ? { info: JSON.stringify({ pid: init?.pid ?? 0, namespaces, cgroupParent, config }) }
      : {},
  });
};
