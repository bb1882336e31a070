import { chmod, mkdir, open, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, KeelsonError } from '../../base/index.ts';
import {
  allocateFile,
  copyDirectory,
  copyFile,
  flushFileSystem,
  makeFileSystem,
  type ProgramOptions,
} from '../../linux/index.ts';
import type { Content } from './plan-volume.ts';

/** A new volume, or a copy of one. */
export interface ContentRequest extends Content {
  readonly size: bigint;
  readonly thick: boolean;
  /** The directory of the volume or snapshot that is copied. */
  readonly source?: string | undefined;
}

/** Puts `data` or `image` into a directory, on the disk when this resolves. */
export async function makeContent(
  directory: string,
  request: ContentRequest,
  programs: ProgramOptions,
): Promise<void> {
  if (request.kind === 'directory') await makeDirectory(directory, request.source, programs);
  else await makeImage(join(directory, 'image'), request, programs);
}

async function makeDirectory(
  directory: string,
  source: string | undefined,
  programs: ProgramOptions,
): Promise<void> {
  const data = join(directory, 'data');
  // Whatever user a container has: who gets at the volume is decided by its mounts.
  await mkdir(data);
  await chmod(data, 0o777);
  if (source === undefined) return;
  await copyDirectory(join(source, 'data'), data, programs);
  await flushFileSystem(data);
}

async function makeImage(
  image: string,
  { fsType, size, thick, source }: ContentRequest,
  programs: ProgramOptions,
): Promise<void> {
  if (source !== undefined) await copyFile(join(source, 'image'), image, programs);
  await growImage(image, size, thick, programs);
  if (source === undefined && fsType !== undefined) await makeFileSystem(fsType, image, programs);
  await using file = await open(image, 'r+');
  await file.sync();
}

/** Makes an image as large as this, if it is not. */
export async function growImage(
  image: string,
  size: bigint,
  thick: boolean,
  programs: ProgramOptions,
): Promise<void> {
  await using file = await open(image, 'a', 0o600);
  if ((await file.stat({ bigint: true })).size < size) {
    try {
      await file.truncate(Number(size));
    } catch (cause) {
      if (errnoOf(cause) !== 'EFBIG') throw cause;
      const reason = `a file of this file system cannot have ${size} bytes`;
      throw new KeelsonError('OUT_OF_RANGE', 'Cannot make a volume of that size', { reason });
    }
  }
  if (thick) await allocateFile(image, size, programs);
  await file.sync();
}

/** Bytes that new volumes may have at this moment, and the largest one. */
export async function freeBytes(directory: string): Promise<bigint> {
  const { bavail, bsize } = await statfs(directory, { bigint: true });
  return bavail * bsize;
}

/** Fails with RESOURCE_EXHAUSTED where there is not that much space. */
export async function checkSpace(directory: string, size: bigint): Promise<void> {
  const free = await freeBytes(directory);
  if (size <= free) return;
  throw new KeelsonError('RESOURCE_EXHAUSTED', `Cannot set ${size} bytes aside`, {
    reason: `${free} bytes are free`,
  });
}
