import type { Stats } from 'node:fs';
import { lstat, readdir, rename, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ifExists, KeelsonError } from '../../base/index.ts';

/**
 * Moves a file or tree to a place on the same file system. Directories are joined with those
 * that are there, files take the place of files; a link at the place is never followed.
 */
export async function moveInto(from: string, to: string): Promise<void> {
  const source = await lstat(from);
  const there = await ifExists(lstat(to));
  if (!source.isDirectory() && there?.isDirectory() !== true) return rename(from, to);
  if (there === undefined) return rename(from, to);
  if (!source.isDirectory() || !there.isDirectory()) throw conflict(to, source, there);
  for (const name of await readdir(from)) await moveInto(join(from, name), join(to, name));
  await rmdir(from);
}

function conflict(path: string, source: Stats, there: Stats): KeelsonError {
  return new KeelsonError('FAILED_PRECONDITION', `Cannot write "${path}"`, {
    reason: `it is ${kindOf(there)}, and what is copied is ${kindOf(source)}`,
  });
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory';
  return stats.isSymbolicLink() ? 'a link' : 'a file';
}
