import type { SandboxChanges } from './lifecycle-observer.ts';
import type { Pods } from './pods.ts';

/**
 * Notes the new sums of a pod; what is undefined stays. The limits themselves are those of
 * the pod's cgroup, which the kubelet has changed before it tells.
 */
export async function updateSandboxResources(
  pods: Pods,
  idOrPrefix: string,
  changes: SandboxChanges,
  signal: AbortSignal,
): Promise<void> {
  const found = pods.sandboxes.get(idOrPrefix);
  await pods.observer?.sandboxUpdating(found, changes);
  using _held = await pods.locks.acquire(found.id, signal);
  const sandbox = pods.sandboxes.get(found.id);
  const config = {
    ...sandbox.config,
    ...(changes.resources === undefined ? {} : { resources: changes.resources }),
    ...(changes.overhead === undefined ? {} : { overhead: changes.overhead }),
  };
  const changed = await pods.sandboxes.update(sandbox, { config });
  await pods.observer?.sandboxUpdated(changed);
}
