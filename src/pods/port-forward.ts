import type { Duplex } from 'node:stream';
import { KeelsonError, splice } from '../base/index.ts';
import { connectLoopback } from '../linux/index.ts';
import type { Pods } from './pods.ts';

/**
 * Joins a stream with a connection to a port of a pod's loopback interface. The end of one
 * direction is passed on and leaves the other open; settles when both have ended.
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
  const connection = await connectLoopback(sandbox.namespaces.net, port, signal);
  await splice(stream, connection, signal);
}
