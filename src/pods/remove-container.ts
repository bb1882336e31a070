import { Steps } from '../base/index.ts';
import { killMonitor } from '../oci/runtime/index.ts';
import { containerPaths } from './container-paths.ts';
import { removeRootfs } from './container-rootfs.ts';
import { forget } from './create-container.ts';
import { deleteByRuntime } from './delete-by-runtime.ts';
import type { Pods } from './pods.ts';
import { stopContainer } from './stop-container.ts';

/**
 * Removes a container with its files, killing it first. Its log stays. Absence is fine.
 */
export async function removeContainer(
  pods: Pods,
  idOrPrefix: string,
  signal: AbortSignal,
): Promise<void> {
  const found = pods.containers.find(idOrPrefix);
  if (found === undefined) return;
  const { id } = found;
  await stopContainer(pods, id, 0, signal);
  using _held = await pods.locks.acquire(id, signal);
  const container = pods.containers.find(id);
  if (container === undefined) return;
  const paths = containerPaths(pods, id);
  await using steps = new Steps('remove-container', pods.logger.child({ containerId: id }));
  await pods.observer?.containerRemoving(container);
  await steps.run('delete by runtime', async () => {
    await deleteByRuntime(pods, container, signal);
    await killMonitor(paths.bundle);
  });
  await steps.run('remove root filesystem', () => removeRootfs(paths));
  await steps.run('remove record', () => forget(pods, id));
}
