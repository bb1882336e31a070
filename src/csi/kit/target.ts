import { lstat, rmdir, unlink } from 'node:fs/promises';
import { errnoOf, ifExists, KeelsonError } from '../../base/index.ts';
import { listMounts, type MountInfo, unmountUnlessBusy } from '../../linux/index.ts';

/** What is mounted at a path, topmost. */
export function mountAt(path: string): MountInfo | undefined {
  return listMounts().findLast(({ target }) => target === path);
}

/**
 * Undoes a publication: takes the mounts off the target path and removes the empty
 * directory or the empty file there. Nothing to do is no error. Fails with
 * FAILED_PRECONDITION when a process still uses the mount; what holds something is never
 * removed.
 */
export async function removeTarget(path: string): Promise<void> {
  await unmountUnlessBusy(path);
  const there = await ifExists(lstat(path));
  if (there === undefined) return;
  // What a device was mounted on is an empty file.
  if (!there.isDirectory() && (there.size > 0 || !there.isFile())) throw someoneElses(path);
  try {
    await ifExists(there.isDirectory() ? rmdir(path) : unlink(path));
  } catch (cause) {
    if (errnoOf(cause) === 'ENOTEMPTY' || errnoOf(cause) === 'EEXIST') throw someoneElses(path);
    throw cause;
  }
}

function someoneElses(path: string): KeelsonError {
  return new KeelsonError('FAILED_PRECONDITION', `Cannot remove target path "${path}"`, {
    reason: 'what is there is someone else’s',
  });
}
