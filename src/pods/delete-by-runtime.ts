import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep } from '../base/index.ts';
import { cgroupDirectories, killCgroup, removeCgroupDirectories } from '../linux/index.ts';
import { cgroupDirectoryOf } from './cgroup-paths.ts';
import type { Pods } from './pods.ts';

/** Milliseconds between two looks whether a cgroup is empty, and how many there are. */
const PAUSE = 10;
const LOOKS = 300;

/** What must be known of a container, or of the init process of a sandbox, to delete it. */
export interface Deletable {
  id: string;
  handler: string;
  cgroupsPath: string;
}

/**
 * Has the runtime remove what it made of a container, killing it first. Absence is fine.
 * Where its handler is not configured any more, this is done without the runtime: nobody
 * could get rid of the container otherwise.
 */
export async function deleteByRuntime(
  pods: Pods,
  { id, handler, cgroupsPath }: Deletable,
  signal: AbortSignal,
): Promise<void> {
  const runtime = pods.runtimes.find(handler);
  if (runtime !== undefined) await runtime.delete(id, signal);
  else {
    pods.logger.warn(
      { id, handler },
      'a runtime handler is not configured any more: going without',
    );
  }
  await removeCgroup(pods, cgroupDirectoryOf(cgroupsPath), signal);
  if (runtime !== undefined) return;
  // Where a runtime without a root of its own keeps its records.
  const records = join(pods.settings.stateDirectory, 'runtimes', handler, id);
  await rm(records, { recursive: true, force: true });
}

/**
 * What a runtime could not write down, on a full disk or because it was killed while it made
 * the container, it does not know of when it deletes.
 */
async function removeCgroup(pods: Pods, cgroup: string, signal: AbortSignal): Promise<void> {
  const { cgroups } = pods.host;
  const directories = cgroupDirectories(cgroups, cgroup);
  const isThere = () => directories.some((path) => existsSync(path));
  if (!isThere()) return;
  await killCgroup(cgroups, cgroup);
  for (let look = 0; look < LOOKS && isThere(); look++) {
    removeCgroupDirectories(directories);
    if (isThere()) await sleep(PAUSE, signal);
  }
}
