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
  const { cgroups } = pods.host;
  const cgroup = cgroupDirectoryOf(cgroupsPath);
  const directories = cgroupDirectories(cgroups, cgroup);
  const runtime = pods.runtimes.find(handler);
  if (runtime !== undefined) {
    await runtime.delete(id, signal);
    // A runtime that could not write down what it made, on a full disk, does not know of it.
    removeCgroupDirectories(directories);
    return;
  }
  pods.logger.warn({ id, handler }, 'a runtime handler is not configured any more: going without');
  await killCgroup(cgroups, cgroup);
  for (let look = 0; look < LOOKS && directories.some((path) => existsSync(path)); look++) {
    removeCgroupDirectories(directories);
    await sleep(PAUSE, signal);
  }
  // Where a runtime without a root of its own keeps its records.
  const records = join(pods.settings.stateDirectory, 'runtimes', handler, id);
  await rm(records, { recursive: true, force: true });
}
