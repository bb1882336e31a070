import { lstat, rmdir, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, ifExists, KeelsonError } from '../../base/index.ts';
import { listMounts } from '../../linux/index.ts';

/** Whether something is mounted at exactly this path. */
export function isMounted(path: string): boolean {
  return listMounts().some(({ target }) => target === path);
}

/** Mounts at and below a path, innermost first. */
export function mountsBelow(path: string): string[] {
  return listMounts()
    .map(({ target }) => target)
    .filter((target) => target === path || target.startsWith(`${path}/`))
    .sort((a, b) => b.length - a.length);
}

/**
 * Whether a driver that says so has really published a volume. A directory without a mount
 * would hand a pod the host's own disk.
 */
export async function checkPublished(path: string, mode: 'Filesystem' | 'Block'): Promise<void> {
  const info = await ifExists(lstat(path));
  const action = `Cannot use volume at "${path}"`;
  const lie = (reason: string, hint?: string) =>
    new KeelsonError('FAILED_PRECONDITION', action, {
      reason,
      ...(hint === undefined ? {} : { hint }),
    });
  if (info === undefined) throw lie('the driver says that it is published, but nothing is there');
  if (mode === 'Block') {
    if (info.isBlockDevice()) return;
    throw lie('the driver says that it is published, but there is no block device');
  }
  if (!info.isDirectory()) throw lie('the driver published something that is no directory');
  if (!isMounted(path)) {
    throw lie(
      'the driver says that it is published, but nothing is mounted there',
      'a driver in a container needs Bidirectional mount propagation',
    );
  }
}

/**
 * Removes an empty directory or a file where a mount has been, and empty parents up to
 * `top`. What is mounted or holds files stays: nothing of a volume is ever deleted here.
 */
export async function removeMountPoint(path: string, top: string): Promise<void> {
  if (mountsBelow(path).length > 0) {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot remove "${path}"`, {
      reason: 'something is still mounted there',
    });
  }
  const info = await ifExists(lstat(path));
  if (info !== undefined) {
    const work = info.isDirectory() ? rmdir(path) : unlink(path);
    await ifExists(work);
  }
  await removeEmptyParents(dirname(path), top);
}

/** Removes empty directories from `path` upwards, below `top`. */
export async function removeEmptyParents(path: string, top: string): Promise<void> {
  for (let each = path; each.startsWith(`${top}/`); each = dirname(each)) {
    try {
      await rmdir(each);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') continue;
      return;
    }
  }
}
