import { closeSync, existsSync, mkdirSync, openSync, statSync, writeFileSync } from 'node:fs';
import { chmod, chown, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, KeelsonError } from '../base/index.ts';
import { type IdRange, listMounts, mountIdmapped, unmountAll } from '../linux/index.ts';
import type { UserMappings } from './config.ts';

/**
 * Directories with their owners as a user namespace shows them, mounted below `place`. One
 * after the other: an overlay of them copies them, and they can go.
 */
export function mapDirectories(
  directories: readonly string[],
  place: string,
  userNamespace: string,
): string[] {
  mkdirSync(place, { mode: 0o700 });
  return withDescriptor(userNamespace, (fd) =>
    directories.map((source, index) => {
      const target = join(place, String(index));
      mkdirSync(target);
      mountMapped({ source, target, userNamespace: fd });
      return target;
    }),
  );
}

/**
 * Makes a file or directory visible at `target` with owners as a user namespace shows them,
 * and the mounts below it, if those can be mapped too; else their files are nobody's.
 */
export function mapTree(source: string, target: string, userNamespace: string): void {
  if (statSync(source).isDirectory()) mkdirSync(target);
  else writeFileSync(target, '', { flag: 'wx' });
  withDescriptor(userNamespace, (fd) => {
    const request = { source, target, userNamespace: fd };
    try {
      mountIdmapped({ ...request, recursive: true });
    } catch (error) {
      if (errnoOf(error) !== 'EINVAL' && errnoOf(error) !== 'EPERM') throw error;
      mountMapped(request);
    }
  });
}

function mountMapped(request: Parameters<typeof mountIdmapped>[0]): void {
  try {
    mountIdmapped(request);
  } catch (cause) {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot map the owners of "${request.source}"`, {
      cause,
      hint: 'user namespaces need file systems that can have idmapped mounts',
    });
  }
}

function withDescriptor<T>(path: string, work: (fd: number) => T): T {
  const fd = openSync(path, 'r');
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Takes away a directory and all mounts below it. It is deleted only if none of them is
 * left: what they show is not ours to delete. Absence is fine.
 */
export async function removeMountsBelow(directory: string): Promise<void> {
  if (!existsSync(directory)) return;
  const below = () => listMounts().filter(({ target }) => target.startsWith(`${directory}/`));
  for (const { target } of below().reverse()) unmountAll(target);
  const left = below()[0];
  if (left !== undefined) {
    throw new KeelsonError('UNKNOWN', `Cannot remove "${directory}"`, {
      reason: `"${left.target}" is still mounted`,
    });
  }
  await rm(directory, { recursive: true, force: true });
}

/**
 * Lets the root of a user namespace through a directory to what lies below, and nobody else:
 * there may be programs with set-uid bits. Runtimes act as that root.
 */
export async function letThrough(directory: string, user: UserMappings): Promise<void> {
  await chown(directory, 0, hostIdOf(0, user.gids));
  await chmod(directory, 0o710);
}

/** An id of the container as the host has it; what is not mapped becomes root's. */
export function hostIdOf(id: number, range: IdRange | undefined): number {
  if (range === undefined) return id;
  const offset = id - range.containerId;
  return offset >= 0 && offset < range.length ? range.hostId + offset : range.hostId;
}
