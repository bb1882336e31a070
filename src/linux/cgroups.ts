import { type Dirent, existsSync, rmdirSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf, ifExists } from '../base/index.ts';
import { listMounts, type MountInfo } from './mounts.ts';

/**
 * How cgroups are mounted here. `unified`: v2 alone. `legacy`: v1. `hybrid`: v1
 * controllers with a v2 tree without controllers beside them, used like v1.
 */
export type CgroupMode = 'unified' | 'legacy' | 'hybrid';

export interface CgroupLayout {
  mode: CgroupMode;
  /** Where each v1 controller, or under '' the v2 tree, is mounted. */
  mountpoints: ReadonlyMap<string, string>;
}

const V1_CONTROLLERS = new Set([
  ...['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'blkio', 'pids', 'hugetlb'],
  ...['net_cls', 'net_prio', 'perf_event', 'rdma', 'misc', 'name=systemd'],
]);

const CGROUP_ROOT = '/sys/fs/cgroup';

/**
 * Reads the layout from what is mounted. A tree that is mounted several times counts where
 * it was mounted first: programs such as network agents mount one more for themselves.
 */
export function cgroupLayout(mounts: MountInfo[] = listMounts()): CgroupLayout {
  const mountpoints = new Map<string, string>();
  for (const mount of mounts) {
    const trees =
      mount.type === 'cgroup2' ? [''] : mount.type === 'cgroup' ? mount.superOptions : [];
    for (const tree of trees) {
      if (tree !== '' && !V1_CONTROLLERS.has(tree)) continue;
      if (!mountpoints.has(tree)) mountpoints.set(tree, mount.target);
    }
  }
  // As OCI runtimes decide. A v1 controller mounted elsewhere by somebody changes nothing.
  if (mountpoints.get('') === CGROUP_ROOT) {
    return { mode: 'unified', mountpoints: new Map([['', CGROUP_ROOT]]) };
  }
  const v2 = mountpoints.has('');
  const v1 = [...mountpoints.keys()].some((key) => key !== '' && key !== 'name=systemd');
  return { mode: v1 ? (v2 ? 'hybrid' : 'legacy') : 'unified', mountpoints };
}

/** The directories of one cgroup, one in each mounted tree. */
export function cgroupDirectories(layout: CgroupLayout, path: string): string[] {
  return [...new Set(layout.mountpoints.values())].map((mountpoint) => join(mountpoint, path));
}

/** The directory where a cgroup's value of one controller lives: v1's own tree, or v2's. */
export function controllerDirectory(
  layout: CgroupLayout,
  controller: string,
  path: string,
): string | undefined {
  const mountpoint = layout.mountpoints.get(layout.mode === 'unified' ? '' : controller);
  return mountpoint === undefined ? undefined : join(mountpoint, path);
}

/** The directories that a cgroup would need but that are not there, outermost first. */
export function missingCgroupDirectories(layout: CgroupLayout, path: string): string[] {
  return [...new Set(layout.mountpoints.values())].flatMap((mountpoint) => {
    const missing: string[] = [];
    for (let each = join(mountpoint, path); each !== mountpoint; each = dirname(each)) {
      if (existsSync(each)) break;
      missing.unshift(each);
    }
    return missing;
  });
}

/** Removes cgroup directories that are empty, innermost first; others use the rest. */
export function removeCgroupDirectories(directories: readonly string[]): void {
  for (const directory of [...directories].reverse()) {
    try {
      rmdirSync(directory);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno !== 'ENOENT' && errno !== 'EBUSY' && errno !== 'ENOTEMPTY') throw error;
    }
  }
}

/** Rounds after which killing gives up on a cgroup whose processes start new ones faster. */
const MOST_KILL_ROUNDS = 100;

/** Kills every process in a cgroup and below it with SIGKILL. */
export async function killCgroup(layout: CgroupLayout, path: string): Promise<void> {
  if (layout.mode === 'unified') {
    const file = join(layout.mountpoints.get('') ?? '', path, 'cgroup.kill');
    if ((await unlessGone(writeFile(file, '1').then(() => true))) === true) return;
  }
  const killed = new Set<number>();
  for (let round = 0; round < MOST_KILL_ROUNDS; round++) {
    const pids = (await processesOf(layout, path)).filter((pid) => !killed.has(pid));
    if (pids.length === 0) return;
    for (const pid of pids) {
      killed.add(pid);
      kill(pid);
    }
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

/** The processes in a cgroup and below it, seen from this PID namespace. */
export async function processesOf(layout: CgroupLayout, path: string): Promise<number[]> {
  const tree =
    layout.mountpoints.get(layout.mode === 'unified' ? '' : 'pids') ??
    layout.mountpoints.get('memory');
  return tree === undefined ? [] : processesBelow(join(tree, path));
}

async function processesBelow(directory: string): Promise<number[]> {
  const text = (await unlessGone(readFile(join(directory, 'cgroup.procs'), 'utf8'))) ?? '';
  // Processes of another PID namespace are shown as 0, which to kill(2) means one's own group.
  const pids = text
    .split('\n')
    .map(Number)
    .filter((pid) => pid > 0);
  const entries: Dirent[] = (await unlessGone(readdir(directory, { withFileTypes: true }))) ?? [];
  for (const entry of entries) {
    if (entry.isDirectory()) pids.push(...(await processesBelow(join(directory, entry.name))));
  }
  return pids;
}

/**
 * As `ifExists`. A file of a cgroup that is removed while it is open answers ENODEV, and
 * `cgroup.procs` of a threaded cgroup, whose processes stand in the one above, EOPNOTSUPP.
 */
async function unlessGone<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await ifExists(work);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENODEV' || errno === 'EOPNOTSUPP' || errno === 'ENOTSUP') return undefined;
    throw error;
  }
}
