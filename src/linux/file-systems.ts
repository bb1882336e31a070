import { open, stat } from 'node:fs/promises';
import { KeelsonError, messageOf } from '../base/index.ts';
import { findProgram } from './find-program.ts';
import { type ProgramOptions, runProgram } from './storage-program.ts';

/** File systems that can be made, mounted and grown. */
export const FILE_SYSTEMS = ['ext4', 'xfs'] as const;

export type FileSystemType = (typeof FILE_SYSTEMS)[number];

interface Programs {
  readonly make: string;
  /** Options: all space to users; no discarding, which would give allocated space back. */
  readonly options: readonly string[];
  readonly grow: string;
  /** What the growing program wants: the device, or where it is mounted. */
  readonly growsAt: 'device' | 'target';
  /** Bytes that a file system has at least. */
  readonly smallest: bigint;
  /** Options of mount that it needs here. */
  readonly mountOptions: readonly string[];
}

const PROGRAMS: Record<FileSystemType, Programs> = {
  ext4: {
    make: 'mkfs.ext4',
    options: ['-q', '-F', '-m', '0', '-E', 'nodiscard'],
    grow: 'resize2fs',
    growsAt: 'device',
    smallest: 2n << 20n,
    mountOptions: [],
  },
  xfs: {
    make: 'mkfs.xfs',
    options: ['-q', '-f', '-K'],
    grow: 'xfs_growfs',
    growsAt: 'target',
    smallest: 300n << 20n,
    // A copy has the id of the original, and both may be mounted.
    mountOptions: ['nouuid'],
  },
};

/** Bytes that a file system of this type has at least. */
export function smallestFileSystem(type: FileSystemType): bigint {
  return PROGRAMS[type].smallest;
}

/** The types whose programs are on this host. */
export function availableFileSystems(): FileSystemType[] {
  return FILE_SYSTEMS.filter((type) => findProgram(PROGRAMS[type].make) !== undefined);
}

/** Makes a file system on a device or in a file that has nothing to lose. */
export async function makeFileSystem(
  type: FileSystemType,
  path: string,
  options: ProgramOptions = {},
): Promise<void> {
  const { make, options: flags } = PROGRAMS[type];
  await runProgram(`make a file system in "${path}"`, [make, ...flags, '--', path], options);
}

/**
 * Grows a mounted file system to the size of its device; nothing to grow is no error. Fails
 * with FAILED_PRECONDITION where the kernel does not let this process: ext4 wants
 * CAP_SYS_RESOURCE.
 */
export async function growFileSystem(
  type: FileSystemType,
  mounted: { device: string; target: string },
  options: ProgramOptions = {},
): Promise<void> {
  const { grow, growsAt } = PROGRAMS[type];
  const what = `grow the file system at "${mounted.target}"`;
  try {
    await runProgram(what, [grow, mounted[growsAt]], options);
  } catch (error) {
    if (!messageOf(error).includes('Permission denied')) throw error;
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot ${what} while it is mounted`, {
      reason: 'this process lacks CAP_SYS_RESOURCE',
      hint: 'it grows when it is mounted the next time',
    });
  }
}

/** Whether `growUnmounted` grows this type; others grow only while they are mounted. */
export function growsUnmounted(type: FileSystemType): boolean {
  return type === 'ext4';
}

/** Grows a file system that is not mounted to the size of the file that it is in. */
export async function growUnmounted(path: string, options: ProgramOptions = {}): Promise<void> {
  const size = await ext4Size(path);
  const { size: bytes } = await stat(path, { bigint: true });
  // Blocks of a group that would be too small are left out.
  if (bytes - size < SMALLEST_GROWTH) return;
  const what = `grow the file system in "${path}"`;
  const check = ['e2fsck', '-f', '-p', path];
  // 1: errors were corrected.
  await runProgram(what, check, { ...options, succeeds: (code) => code === 0 || code === 1 });
  await runProgram(what, ['resize2fs', path], options);
}

const SMALLEST_GROWTH = 1n << 20n;

/** What the superblock says (Documentation/filesystems/ext4/super.rst). */
async function ext4Size(path: string): Promise<bigint> {
  await using file = await open(path, 'r');
  const superblock = Buffer.alloc(1024);
  await file.read(superblock, 0, superblock.length, 1024);
  if (superblock.readUInt16LE(56) !== 0xef53) {
    throw new KeelsonError('DATA_LOSS', `There is no ext4 file system in "${path}"`);
  }
  const high = BigInt(superblock.readUInt32LE(0x150)) << 32n;
  const blocks = high | BigInt(superblock.readUInt32LE(4));
  return blocks << BigInt(10 + superblock.readUInt32LE(24));
}

export interface FileSystemMount {
  readonly device: string;
  readonly target: string;
  readonly type: FileSystemType;
  /** As on the command line of mount(8). */
  readonly options: readonly string[];
}

/** Mounts by the mount program: it knows all options, and a journal may take long to replay. */
export async function mountFileSystem(
  { device, target, type, options }: FileSystemMount,
  more: ProgramOptions = {},
): Promise<void> {
  const all = [...PROGRAMS[type].mountOptions, ...options];
  const flags = all.length === 0 ? [] : ['-o', all.join(',')];
  const command = ['mount', '--no-canonicalize', '-t', type, ...flags, '--', device, target];
  await runProgram(`mount a file system on "${target}"`, command, more);
}

/**
 * Does work while nobody can change a mounted file system and all of it is on the disk. A
 * process that is killed meanwhile leaves it frozen: see `thaw`.
 */
export async function whileFrozen<T>(target: string, work: () => Promise<T>): Promise<T> {
  await runProgram(`freeze the file system at "${target}"`, ['fsfreeze', '--freeze', target]);
  try {
    return await work();
  } finally {
    await thaw(target);
  }
}

/** Ends a freeze; a file system that is not frozen is no error. */
export async function thaw(target: string): Promise<void> {
  try {
    await runProgram(`thaw the file system at "${target}"`, ['fsfreeze', '--unfreeze', target]);
  } catch (error) {
    if (!messageOf(error).includes('Invalid argument')) throw error;
  }
}

/** Sets space of a file aside, growing it if need be; what it holds stays. */
export async function allocateFile(
  path: string,
  bytes: bigint,
  options: ProgramOptions = {},
): Promise<void> {
  const command = ['fallocate', '--length', String(bytes), '--', path];
  await runProgram(`allocate "${path}"`, command, options);
}
