import { closeSync, fstatSync, openSync, readlinkSync, readSync, statSync } from 'node:fs';
import { errnoOf, KeelsonError } from '../base/index.ts';
import { cString, raw, syscall } from './ffi.ts';
import { run } from './run.ts';

const SYS_OPENAT2 = 437;
const O_PATH_CLOEXEC = 0o12000000;
const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_IN_ROOT = 0x10;

/** The kernel gives up on `..` when anything was renamed or mounted meanwhile, anywhere. */
const MOST_TRIES = 100;

/**
 * Reads a regular file below `root` as a process whose root directory that is would:
 * links, also absolute ones and `..`, never lead out (openat2(2), RESOLVE_IN_ROOT).
 * Undefined when there is no such file. Fails if it is larger than `limit` bytes.
 */
export function readFileInRoot(root: string, path: string, limit = 4 << 20): string | undefined {
  return withFileInRoot(root, path, (found) => {
    const stat = fstatSync(found);
    if (!stat.isFile() || stat.size > limit) {
      throw new KeelsonError('INVALID_ARGUMENT', `Cannot read "${path}" of the image`, {
        reason: stat.isFile() ? `it is larger than ${limit} bytes` : 'it is not a regular file',
      });
    }
    const fd = openSync(`/proc/self/fd/${found}`, 'r');
    try {
      return readText(fd, stat.size);
    } finally {
      closeSync(fd);
    }
  });
}

/** Where `path` really lies, resolved below `root` in the same way. */
export function resolveInRoot(root: string, path: string): string | undefined {
  return withFileInRoot(root, path, (fd) => readlinkSync(`/proc/self/fd/${fd}`));
}

/**
 * Copies what a directory below `root` holds into another directory, with owners, modes,
 * times and attributes; links are copied as links. A directory that is not there is empty.
 */
export async function copyFromRoot(root: string, path: string, target: string): Promise<void> {
  const source = resolveInRoot(root, path);
  if (source === undefined || !statSync(source).isDirectory()) return;
  const result = await run('cp', ['-a', '--', `${source}/.`, target]);
  if (result.code === 0) return;
  throw new KeelsonError('UNKNOWN', `Cannot copy "${path}" of the image to "${target}"`, {
    reason: result.stderr.toString().trim(),
  });
}

function withFileInRoot<T>(root: string, path: string, work: (fd: number) => T): T | undefined {
  const rootFd = openSync(root, 'r');
  let fd: number;
  try {
    fd = openPath(rootFd, path, `open ${path} in ${root}`);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP') return undefined;
    throw error;
  } finally {
    closeSync(rootFd);
  }
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}

/** Finds a file without opening it: to open a device or a FIFO alone may do something. */
function openPath(rootFd: number, path: string, what: string): number {
  for (let tries = 1; ; tries++) {
    try {
      return syscall(what, () =>
        raw.openat2(SYS_OPENAT2, rootFd, cString(path), openHow(), BigInt(24)),
      );
    } catch (error) {
      if (errnoOf(error) !== 'EAGAIN' || tries === MOST_TRIES) throw error;
    }
  }
}

/** struct open_how: flags, mode, resolve. */
function openHow(): Buffer {
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(O_PATH_CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS), 16);
  return how;
}

function readText(fd: number, limit: number): string {
  const content = Buffer.alloc(limit);
  let size = 0;
  while (size < content.length) {
    const count = readSync(fd, content, size, content.length - size, null);
    if (count === 0) break;
    size += count;
  }
  return content.toString('utf8', 0, size);
}
