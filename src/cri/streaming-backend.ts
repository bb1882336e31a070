import { attachContainer, execStream, forwardPort, type Pods } from '../pods/index.ts';
import type { StreamingBackend } from '../streaming/index.ts';

/** Pods, as the streaming server sees them. */
export function streamingBackend(pods: Pods): StreamingBackend {
  return {
    exec: (request, io, signal) => execStream(pods, request, io, signal),
    attach: (request, io, signal) => attachContainer(pods, request.containerId, io, signal),
    portForward: (sandboxId, port, stream, signal) =>
      forwardPort(pods, sandboxId, port, stream, signal),
  };
}
