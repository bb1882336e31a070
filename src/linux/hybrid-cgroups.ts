import { openSync, readFileSync } from 'node:fs';
import { raw, syscall } from './ffi.ts';
import { MS, mount, parseMountInfo } from './mounts.ts';

const CGROUP_ROOT = '/sys/fs/cgroup';
const CLONE_FS = 0x200;
const CLONE_NEWNS = 0x20000;
const HARMLESS = MS.NOSUID | MS.NODEV | MS.NOEXEC;

/** On a host whose cgroups are v1 with a v2 tree beside them, where that tree is mounted. */
const unifiedOfHybridHost = findUnified();
let home: number | undefined;

/**
 * Starts a process that does not see the cgroup v2 tree of a hybrid host. crun 1.8
 * refuses to work where it is mounted beside v1 controllers.
 *
 * `launch` runs in a mount namespace copied from the host's this very moment, so that it
 * sees all mounts there are, in which an empty directory lies over the v2 tree. Only the
 * calling thread moves, synchronously, for about 0.1 ms. Elsewhere than on a hybrid host
 * `launch` just runs.
 */
export function withoutHybridCgroups<T>(launch: () => T): T {
  if (unifiedOfHybridHost === undefined) return launch();
  if (home === undefined) {
    // A thread may change its mount namespace only if it shares no working directory.
    syscall('unshare file system attributes', () => raw.unshare(CLONE_FS));
    home = openSync('/proc/thread-self/ns/mnt', 'r');
  }
  const fd = home;
  syscall('unshare mount namespace', () => raw.unshare(CLONE_NEWNS));
  try {
    mount({ target: CGROUP_ROOT, flags: MS.REC | MS.PRIVATE });
    // Empty, and of this namespace alone: crun makes directories there that it never removes.
    mount({ source: 'tmpfs', target: unifiedOfHybridHost, type: 'tmpfs', flags: HARMLESS });
    return launch();
  } finally {
    returnHome(fd);
  }
}

function returnHome(fd: number): void {
  try {
    syscall('return to the host mount namespace', () => raw.setns(fd, CLONE_NEWNS));
  } catch (error) {
    // Going on would mount things where nobody sees them.
    process.stderr.write(`${String(error)}\n`);
    process.abort();
  }
}

function findUnified(): string | undefined {
  const mounts = parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'));
  if (!mounts.some((mount) => mount.type === 'cgroup')) return undefined;
  return mounts.find(
    (mount) => mount.type === 'cgroup2' && mount.target.startsWith(`${CGROUP_ROOT}/`),
  )?.target;
}
