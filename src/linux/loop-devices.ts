import { closeSync, constants, openSync } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { errnoOf, ifExists } from '../base/index.ts';
import { raw, syscall } from './ffi.ts';
import { makeNode, S_IF, splitDeviceNumber } from './inodes.ts';
import { listMounts } from './mounts.ts';

/** From linux/loop.h. */
const LOOP_CLR_FD = 0x4c01;
const LOOP_SET_CAPACITY = 0x4c07;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CTL_GET_FREE = 0x4c82;
const LO_FLAGS_READ_ONLY = 1;
const LO_FLAGS_AUTOCLEAR = 4;

/** struct loop_config: fd, block size, struct loop_info64 (232 bytes), reserved. */
const CONFIG_SIZE = 304;
const FD_AT = 0;
const FLAGS_AT = 60;

/** Others take free devices, too: how often another one is asked for. */
const MOST_TRIES = 64;

const MAJOR = 7;

export interface LoopOptions {
  /** The kernel detaches the device when nobody has it open or mounted any more. */
  autoclear?: boolean;
  readonly?: boolean;
}

/** A block device whose content is a file. */
export interface LoopDevice {
  /** `/dev/loopN`. */
  readonly path: string;
  readonly readonly: boolean;
}

/**
 * Attaches a file to a free loop device (loop(4)). What is answered keeps the device open
 * until it is disposed: with `autoclear`, the device is gone then unless it was mounted, so
 * that being killed in between leaves nothing.
 */
export async function attachLoop(
  file: string,
  options: LoopOptions = {},
): Promise<LoopDevice & AsyncDisposable> {
  const mode = options.readonly ? constants.O_RDONLY : constants.O_RDWR;
  await using content = await open(file, mode);
  const config = Buffer.alloc(CONFIG_SIZE);
  config.writeUInt32LE(content.fd, FD_AT);
  config.writeUInt32LE(
    (options.readonly ? LO_FLAGS_READ_ONLY : 0) | (options.autoclear ? LO_FLAGS_AUTOCLEAR : 0),
    FLAGS_AT,
  );
  for (let tries = 1; ; tries++) {
    const path = freeDevice();
    const device = await open(path, mode);
    try {
      syscall(`attach ${file} to ${path}`, () => raw.ioctl(device.fd, LOOP_CONFIGURE, config));
      const dispose = () => device.close();
      return { path, readonly: options.readonly ?? false, [Symbol.asyncDispose]: dispose };
    } catch (error) {
      await device.close();
      if (errnoOf(error) !== 'EBUSY' || tries === MOST_TRIES) throw error;
    }
  }
}

/** The path of a device that nobody uses, at this moment. */
function freeDevice(): string {
  const control = openSync('/dev/loop-control', 'r+');
  try {
    const number = syscall('find a free loop device', () =>
      raw.ioctlNumber(control, LOOP_CTL_GET_FREE, 0),
    );
    const path = `/dev/loop${number}`;
    makeMissingNode(path, number);
    return path;
  } finally {
    closeSync(control);
  }
}

/** In a container /dev is often no devtmpfs, and new devices have no node. */
function makeMissingNode(path: string, number: number): void {
  try {
    makeNode(path, S_IF.BLK | 0o600, MAJOR, number);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}

/** The loop devices whose content is this file, which has its real path. */
export async function loopsOf(file: string): Promise<LoopDevice[]> {
  const names = (await readdir('/sys/block')).filter((name) => name.startsWith('loop'));
  const found = await Promise.all(
    names.map(async (name) => {
      const read = (what: string) => ifExists(readFile(`/sys/block/${name}/${what}`, 'utf8'));
      // A device that is being detached has the directory, but answers ENXIO.
      const backing = await read('loop/backing_file').catch(() => undefined);
      if (backing?.replace(/\n$/, '') !== file) return [];
      return [{ path: `/dev/${name}`, readonly: (await read('ro'))?.trim() === '1' }];
    }),
  );
  return found.flat();
}

/** Frees a loop device; one that is still open or mounted becomes free when it is not. */
export function detachLoop(path: string): void {
  withDevice(path, 'r', (fd) => {
    try {
      syscall(`detach ${path}`, () => raw.ioctlNumber(fd, LOOP_CLR_FD, 0));
    } catch (error) {
      if (errnoOf(error) !== 'ENXIO') throw error;
    }
  });
}

/** Makes a loop device as large as its file has become. */
export function refreshLoopSize(path: string): void {
  withDevice(path, 'r+', (fd) => {
    syscall(`resize ${path}`, () => raw.ioctlNumber(fd, LOOP_SET_CAPACITY, 0));
  });
}

function withDevice(path: string, flags: string, work: (fd: number) => void): void {
  const fd = openSync(path, flags);
  try {
    work(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * The device that a file is attached to, kept open until it is disposed so that it does not
 * go away meanwhile; undefined if there is none. A file system that is unmounted here may
 * still be mounted in another mount namespace: mounting its device once more shares it,
 * where a second device with the same content would destroy it.
 */
export async function holdLoop(file: string): Promise<(LoopDevice & AsyncDisposable) | undefined> {
  for (const loop of await loopsOf(file)) {
    if (loop.readonly) continue;
    const device = await open(loop.path, 'r');
    const stillThere = (await loopsOf(file)).some(({ path }) => path === loop.path);
    if (stillThere) return { ...loop, [Symbol.asyncDispose]: () => device.close() };
    await device.close();
  }
  return undefined;
}

/** Where a device is mounted: its file system, or its node at other paths. */
export async function mountsOfDevice(device: string): Promise<string[]> {
  const mounts = listMounts();
  const nodes = mounts.filter(({ root }) => root.endsWith(`/${basename(device)}`));
  const bound = await Promise.all(nodes.map(({ target }) => isDeviceNode(target, device)));
  const found = [
    ...mounts.filter(({ source }) => source === device),
    ...nodes.filter((_, index) => bound[index]),
  ];
  return found.map(({ target }) => target);
}

/** Whether a path is the node of this block device. */
export async function isDeviceNode(path: string, device: string): Promise<boolean> {
  const [node, wanted] = await Promise.all([ifExists(stat(path)), ifExists(stat(device))]);
  if (!node?.isBlockDevice() || !wanted?.isBlockDevice()) return false;
  const [a, b] = [splitDeviceNumber(node.rdev), splitDeviceNumber(wanted.rdev)];
  return a.major === b.major && a.minor === b.minor;
}
