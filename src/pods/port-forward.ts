import type { Duplex } from 'node:stream';
import { KeelsonError, splice } from '../base/index.ts';
import { connectLoopback } from '../linux/index.ts';
import type { Pods } from './pods.ts';

/**
 * Joins a stream with a connection to a port of a pod's loopback interface. The end of one
 * direction is passed on and leaves the other open; settles when both have ended. Fails with
 * FAILED_PRECONDITION when the pod is not ready, or stops.
 */
export async function forwardPort(
  pods: Pods,
  sandboxId: string,
  port: number,
  stream: Duplex,
  signal: AbortSignal,
): Promise<void> {
  const sandbox = pods.sandboxes.get(sandboxId);
  if (sandbox.state.phase !== 'ready') {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot forward to pod "${sandbox.id}"`, {
      reason: 'it is not ready',
    });
  }
  using open = pods.forwards.open(sandbox.id);
  const either = AbortSignal.any([signal, open.signal]);
  try {
    const connection = await connectLoopback(sandbox.namespaces.net, port, either);
    await splice(stream, connection, either);
  } catch (error) {
    throw open.signal.aborted ? open.signal.reason : error;
  }
}
