import { Steps } from '../base/index.ts';
import type { Pods } from './pods.ts';
import { removeContainer } from './remove-container.ts';
import { forgetSandbox } from './run-sandbox.ts';
import { containersOf, stopSandbox } from './stop-sandbox.ts';

/** Stops a sandbox if need be and removes it with its containers. Absence is fine. */
export async function removeSandbox(
  pods: Pods,
  idOrPrefix: string,
  signal: AbortSignal,
): Promise<void> {
  const found = pods.sandboxes.find(idOrPrefix);
  if (found === undefined || found.state.phase === 'creating') return;
  const { id } = found;
  await stopSandbox(pods, id, signal);
  await Promise.all(
    containersOf(pods, id).map((container) => removeContainer(pods, container.id, signal)),
  );
  using _held = await pods.locks.acquire(id, signal);
  const sandbox = pods.sandboxes.find(id);
  if (sandbox === undefined) return;
  await using steps = new Steps('remove-pod-sandbox', pods.logger.child({ podId: id }));
  await pods.observer?.sandboxRemoving(sandbox);
  await steps.run('remove record', () => forgetSandbox(pods, sandbox));
}
