import { KeelsonError } from '../base/index.ts';
import type { PortForwardRequest, PortForwardResponse } from '../gen/runtime/v1/api.ts';
import type { UnaryHandler } from './context.ts';
import { required } from './invalid.ts';

/** Answers a URL where connections to the pod's ports are made when a client connects. */
export const portForward: UnaryHandler<PortForwardRequest, PortForwardResponse> = (
  { pods, streaming },
  request,
) => {
  const sandbox = pods.sandboxes.get(required('pod_sandbox_id', request.podSandboxId));
  if (sandbox.state.phase !== 'ready') {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot forward to pod "${sandbox.id}"`, {
      reason: 'it is not ready',
    });
  }
  return { url: streaming.portForwardUrl({ sandboxId: sandbox.id, ports: request.port }) };
};
