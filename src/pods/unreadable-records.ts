import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ifExists, messageOf } from '../base/index.ts';
import {
  cgroupDirectories,
  listMounts,
  removeCgroupDirectories,
  removePinnedNamespace,
  unmountAll,
} from '../linux/index.ts';
import { cgroupParentFor } from './cgroup-paths.ts';
import type { Pods } from './pods.ts';
import { pinnedNetwork } from './sandbox-namespaces.ts';

/** Where a state directory keeps records that cannot be read, for a person to look at. */
export function unreadableDirectory(stateDirectory: string): string {
  return join(stateDirectory, 'unreadable');
}

/**
 * Ends what records that were set aside stand for, as far as their ids tell: nobody could
 * stop it any more, and it would run a second time beside what is made in its place.
 * Containers of such pods must be gone already. What was ended before costs little.
 */
export async function endUnreadable(pods: Pods, signal: AbortSignal): Promise<void> {
  const directory = unreadableDirectory(pods.settings.stateDirectory);
  for (const name of (await ifExists(readdir(directory))) ?? []) {
    const id = /-([0-9a-f]{64})$/.exec(name)?.[1];
    if (id === undefined) continue;
    try {
      await end(pods, id, join(directory, name), signal);
    } catch (error) {
      pods.logger.error(
        { id, error },
        `cannot end what an unreadable record stands for: ${messageOf(error)}`,
      );
    }
  }
}

async function end(pods: Pods, id: string, aside: string, signal: AbortSignal): Promise<void> {
  // The handler stood in the record. The monitor ends with its container.
  for (const runtime of pods.runtimes.list()) await runtime.delete(id, signal);
  const { netnsDirectory, cgroupDriver } = pods.settings;
  // Mounts moved along with the directory.
  const mounts = listMounts().filter(({ target }) => target.startsWith(`${aside}/`));
  for (const { target } of mounts.reverse()) unmountAll(target);
  await removePinnedNamespace(pinnedNetwork(netnsDirectory, id));
  if (cgroupDriver === 'systemd') return;
  const cgroup = cgroupParentFor(cgroupDriver, '', id);
  removeCgroupDirectories(cgroupDirectories(pods.host.cgroups, cgroup));
}
