import { closeSync, constants, fstatSync, type Stats } from 'node:fs';
import { lstat, readdir, readlink, stat } from 'node:fs/promises';
import { ifExists } from '../base/index.ts';
import { raw, syscall } from './ffi.ts';

// The same numbers on all architectures.
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;
const F_GETFL = 3;
const F_SETFL = 4;

/** What tells a file from all others, whatever it is called now. */
export type FileIdentity = Pick<Stats, 'dev' | 'ino'>;

export function isSameFile(a: FileIdentity, b: FileIdentity): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

/** A file that a process has open. */
export interface OpenFile {
  pid: number;
  descriptor: number;
  file: FileIdentity;
  /** What it was opened as, or renamed to; it may have other names, or none. */
  name: string;
}

/** The regular files that a process has open to write; none for one that is gone. */
export async function filesWrittenBy(pid: number): Promise<OpenFile[]> {
  const directory = `/proc/${pid}/fd`;
  const found: OpenFile[] = [];
  for (const name of (await ifExists(readdir(directory))) ?? []) {
    const path = `${directory}/${name}`;
    // The rights of the link are those that the file was opened with.
    const mode = (await ifExists(lstat(path)))?.mode ?? 0;
    const file = mode & 0o200 ? await ifExists(stat(path)) : undefined;
    const target = file?.isFile() === true ? await ifExists(readlink(path)) : undefined;
    if (file === undefined || target === undefined) continue;
    found.push({ pid, descriptor: Number(name), file, name: target });
  }
  return found;
}

/**
 * Makes a process write at the end of a file from now on, wherever that is then, by a
 * descriptor that it has open (pidfd_getfd(2), Linux 5.6). Answers whether the descriptor is
 * one of that file; fails with EPERM where processes may not look into others.
 */
export function makeAppending({ pid, descriptor, file }: OpenFile): boolean {
  const process = syscall(`open process ${pid}`, () => raw.pidfdOpen(SYS_PIDFD_OPEN, pid, 0));
  try {
    const shared = syscall(`share descriptor ${descriptor} of process ${pid}`, () =>
      raw.pidfdGetfd(SYS_PIDFD_GETFD, process, descriptor, 0),
    );
    try {
      if (!isSameFile(fstatSync(shared), file)) return false;
      const flags = syscall('read the flags of a descriptor', () =>
        raw.fcntl(shared, F_GETFL, 'int', 0),
      );
      syscall('set the flags of a descriptor', () =>
        raw.fcntl(shared, F_SETFL, 'int', flags | constants.O_APPEND),
      );
      return true;
    } finally {
      closeSync(shared);
    }
  } finally {
    closeSync(process);
  }
}
