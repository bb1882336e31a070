import { closeSync, openSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { errnoOf, KeelsonError } from '../base/index.ts';
import { cString, raw, syscall } from './ffi.ts';
import { bindMount, unmountAll } from './mounts.ts';

/** Namespaces that live without a process, pinned by a bind mount. */
export type PinnableNamespace = 'net' | 'ipc' | 'uts';

const FLAG: Record<PinnableNamespace, number> = {
  net: 0x40000000,
  ipc: 0x08000000,
  uts: 0x04000000,
};

/**
 * Makes a namespace and pins it at `path`, which must not exist. `setup` runs inside it,
 * synchronously: only the calling thread is in there, and the event loop waits.
 */
export function createPinnedNamespace(
  type: PinnableNamespace,
  path: string,
  setup: () => void = () => {},
): void {
  closeSync(openSync(path, 'wx', 0o444));
  insideOther(
    type,
    () => syscall(`unshare ${type} namespace`, () => raw.unshare(FLAG[type])),
    () => {
      bindMount(`/proc/thread-self/ns/${type}`, path);
      setup();
    },
  );
}

/** Runs `work` in the namespace at `path`, synchronously. */
export function insideNamespace<T>(type: PinnableNamespace, path: string, work: () => T): T {
  const fd = openSync(path, 'r');
  try {
    return insideOpenNamespace(type, fd, work);
  } finally {
    closeSync(fd);
  }
}

/** Runs `work` in the namespace that `fd` is open on, synchronously. */
export function insideOpenNamespace<T>(type: PinnableNamespace, fd: number, work: () => T): T {
  return insideOther(
    type,
    () => syscall(`enter ${type} namespace`, () => raw.setns(fd, FLAG[type])),
    work,
  );
}

function insideOther<T>(type: PinnableNamespace, enter: () => void, work: () => T): T {
  const home = openSync(`/proc/thread-self/ns/${type}`, 'r');
  try {
    enter();
    try {
      return work();
    } finally {
      leave(type, home);
    }
  } finally {
    closeSync(home);
  }
}

function leave(type: PinnableNamespace, home: number): void {
  try {
    syscall(`return to the host's ${type} namespace`, () => raw.setns(home, FLAG[type]));
  } catch (error) {
    // Everything done from here on would happen to a pod instead of the host.
    process.stderr.write(`${String(error)}\n`);
    process.abort();
  }
}

/** Unpins a namespace and removes the file. Nothing being there is fine. */
export async function removePinnedNamespace(path: string): Promise<void> {
  unmountAll(path);
  await rm(path, { force: true });
}

/** Sets the host name of the current UTS namespace. */
export function setHostname(name: string): void {
  syscall(`set hostname "${name}"`, () => raw.sethostname(cString(name), Buffer.byteLength(name)));
}

/** Writes a sysctl (`net.ipv4.ip_forward`) in the current namespaces. */
export function writeSysctl(name: string, value: string): void {
  const path = sysctlFile(name);
  try {
    writeFileSync(path, value, { flag: 'r+' });
  } catch (cause) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot set sysctl "${name}" to "${value}"`, {
      cause,
      ...(errnoOf(cause) === 'ENOENT' ? { reason: 'this kernel has no such sysctl' } : {}),
    });
  }
}

/** The file of a sysctl. Fails with INVALID_ARGUMENT for what is no name of one. */
export function sysctlFile(name: string): string {
  return `/proc/sys/${sysctlPath(name)}`;
}

/**
 * sysctl.d(5): with `.` first, dots separate and slashes stand for dots in a name; with
 * `/` first, the other way round.
 */
function sysctlPath(name: string): string {
  const separator = /[./]/.exec(name)?.[0];
  const path =
    separator === '/'
      ? name
      : name.replace(/[./]/g, (character) => (character === '.' ? '/' : '.'));
  if (path.split('/').some((part) => part === '' || part === '..' || part === '.')) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot set sysctl "${name}"`, {
      reason: 'it is not a sysctl name',
    });
  }
  return path;
}
