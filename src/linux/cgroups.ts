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

/** Reads the layout from what is mounted. */
export function cgroupLayout(mounts: MountInfo[] = listMounts()): CgroupLayout {
  const mountpoints = new Map<string, string>();
  for (const mount of mounts) {
    if (mount.type === 'cgroup2') mountpoints.set('', mount.target);
    if (mount.type !== 'cgroup') continue;
    for (const option of mount.superOptions) {
      if (V1_CONTROLLERS.has(option)) mountpoints.set(option, mount.target);
    }
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

/** Kills every process in a cgroup and below it with SIGKILL. */
export async function killCgroup(layout: CgroupLayout, path: string): Promise<void> {
  if (layout.mode === 'unified') {
    const file = join(layout.mountpoints.get('') ?? '', path, 'cgroup.kill');
    if ((await ifExists(writeFile(file, '1').then(() => true))) === true) return;
  }
  for (const pid of await processesOf(layout, path)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH') throw error;
    }
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
  const text = (await ifExists(readFile(join(directory, 'cgroup.procs'), 'utf8'))) ?? '';
  const pids = text.split('\n').filter(Boolean).map(Number);
  const entries: Dirent[] = (await ifExists(readdir(directory, { withFileTypes: true }))) ?? [];
  for (const entry of entries) {
    if (entry.isDirectory()) pids.push(...(await processesBelow(join(directory, entry.name))));
  }
  return pids;
}
