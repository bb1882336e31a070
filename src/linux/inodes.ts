import { cPath, cString, inThreadPool, raw, syscall } from './ffi.ts';

/** File types of mknod(2). */
export const S_IF = { FIFO: 0o010000, CHR: 0o020000, BLK: 0o060000 } as const;

/** Makes a FIFO or device node. `mode` holds the type and the permissions. */
export function makeNode(path: string | Uint8Array, mode: number, major = 0, minor = 0): void {
  syscall(`mknod ${String(path)}`, () => raw.mknod(cPath(path), mode, deviceNumber(major, minor)));
}

/** dev_t as the C library encodes it (makedev(3)). */
export function deviceNumber(major: number, minor: number): bigint {
  const [x, y] = [BigInt(major), BigInt(minor)];
  return ((x & ~0xfffn) << 32n) | ((x & 0xfffn) << 8n) | ((y & ~0xffn) << 12n) | (y & 0xffn);
}

/** Splits a dev_t of stat(2). */
export function splitDeviceNumber(device: number | bigint): { major: number; minor: number } {
  const d = BigInt(device);
  return {
    major: Number(((d >> 32n) & 0xfffff000n) | ((d >> 8n) & 0xfffn)),
    minor: Number(((d >> 12n) & 0xffffff00n) | (d & 0xffn)),
  };
}

/** Sets an extended attribute of the file itself, not of what a link leads to. */
export function setXattr(path: string | Uint8Array, name: string, value: Uint8Array): void {
  syscall(`set xattr ${name} of ${String(path)}`, () =>
    raw.lsetxattr(cPath(path), cString(name), value, value.length, 0),
  );
}

/** An extended attribute of the file itself; at most 64 KiB. Throws ENODATA when it has none of that name. */
export function getXattr(path: string | Uint8Array, name: string): Buffer {
  const value = Buffer.alloc(MAX_XATTR);
  const size = syscall(`get xattr ${name} of ${String(path)}`, () =>
    raw.lgetxattr(cPath(path), cString(name), value, value.length),
  );
  return value.subarray(0, size);
}

/** The names of the extended attributes of the file itself. */
export function listXattrs(path: string | Uint8Array): string[] {
  const names = Buffer.alloc(MAX_XATTR);
  const size = syscall(`list xattrs of ${String(path)}`, () =>
    raw.llistxattr(cPath(path), names, names.length),
  );
  return names.toString('utf8', 0, size).split('\0').filter(Boolean);
}

/** Bytes of one attribute's value, and of all names of a file (xattr(7)). */
const MAX_XATTR = 65536;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

/**
 * Sets the access and the modification time of the file itself, not of what a link leads
 * to: seconds since 1970, which may be negative, and nanoseconds. Node's own calls take
 * floating point, too coarse for nanoseconds.
 */
export function setTimes(path: string | Uint8Array, seconds: number, nanoseconds: number): void {
  const times = new BigInt64Array(4).map((_, i) => BigInt(i % 2 === 0 ? seconds : nanoseconds));
  syscall(`set times of ${String(path)}`, () =>
    raw.utimensat(AT_FDCWD, cPath(path), times, AT_SYMLINK_NOFOLLOW),
  );
}

/** Flushes the whole file system that an open file lies on to the disk, in the thread pool. */
export async function syncFileSystem(fd: number): Promise<void> {
  await inThreadPool<number>(
    (settle) => raw.syncfs.async(fd, settle),
    (result) => syscall('syncfs', () => result),
  );
}
