import { join } from 'node:path';
import { KeelsonError, Steps } from '../base/index.ts';
import { unmountAll } from '../linux/index.ts';
import type { Pods } from './pods.ts';
import { isLive } from './record-exit.ts';
import type { ContainerRecord } from './records.ts';
import { detachNetwork } from './run-sandbox.ts';
import { SHM } from './sandbox-files.ts';
import { removeInit } from './sandbox-init.ts';
import { removeNamespaces } from './sandbox-namespaces.ts';
import { stopContainer } from './stop-container.ts';

/**
 * Kills the containers of a sandbox and gives back its network, namespaces and shared
 * memory. Idempotent; absence is fine. What failed is tried again by the next call.
 */
export async function stopSandbox(
  pods: Pods,
  idOrPrefix: string,
  signal: AbortSignal,
): Promise<void> {
  const found = pods.sandboxes.find(idOrPrefix);
  if (found === undefined || found.state.phase === 'creating') return;
  const { id } = found;
  using _held = await pods.locks.acquire(id, signal);
  const sandbox = pods.sandboxes.find(id);
  if (sandbox === undefined) return;
  if (sandbox.state.phase === 'stopped' && sandbox.state.networkReleased) return;
  await using steps = new Steps('stop-pod-sandbox', pods.logger.child({ podId: id }));
  // From here on no container can be started in it.
  const stopped = await steps.run('record stop', () =>
    pods.sandboxes.update(sandbox, { state: { phase: 'stopped', networkReleased: false } }),
  );
  const reason = { reason: 'it was stopped' };
  pods.forwards.end(
    id,
    new KeelsonError('FAILED_PRECONDITION', `Cannot go on forwarding to pod "${id}"`, reason),
  );
  await steps.run('stop containers', async () => {
    const running = containersOf(pods, id).filter(isLive);
    await Promise.all(running.map((container) => stopContainer(pods, container.id, 0, signal)));
  });
  await pods.observer?.sandboxStopping(stopped);
  await steps.run('stop init process', () => removeInit(pods, stopped, signal));
  await steps.run('detach network', () => detachNetwork(pods, stopped, signal));
  await steps.run('remove namespaces', async () => {
    await removeNamespaces(stopped.namespaces);
    unmountAll(join(pods.sandboxes.directoryOf(id), SHM));
  });
  await steps.run('record release', () =>
    pods.sandboxes.update(stopped, {
      state: { phase: 'stopped', networkReleased: true },
      init: undefined,
      ips: [],
    }),
  );
  pods.logger.info({ podId: id }, 'pod sandbox is stopped');
}

export function containersOf(pods: Pods, sandboxId: string): ContainerRecord[] {
  return pods.containers.list().filter((container) => container.sandboxId === sandboxId);
}
