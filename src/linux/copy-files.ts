import { KeelsonError } from '../base/index.ts';
import { listMounts } from './mounts.ts';
import { type ProgramOptions, runProgram } from './storage-program.ts';

/** Copies a file, sharing its blocks where the file system can, and keeping its holes. */
export async function copyFile(from: string, to: string, options: ProgramOptions): Promise<void> {
  const flags = ['--reflink=auto', '--sparse=auto', '--no-target-directory'];
  await runProgram(`copy "${from}"`, ['cp', ...flags, '--', from, to], options);
}

/** Copies what a directory holds into another one, with owners, modes, times and attributes. */
export async function copyDirectory(
  from: string,
  to: string,
  options: ProgramOptions,
): Promise<void> {
  const flags = ['--archive', '--reflink=auto', '--sparse=auto', '--one-file-system'];
  await runProgram(`copy what "${from}" holds`, ['cp', ...flags, '--', `${from}/.`, to], options);
}

/**
 * Removes a tree. Fails with FAILED_PRECONDITION, and removes nothing, where something is
 * mounted in it: what is mounted may be anybody's.
 */
export async function removeTree(path: string, options: ProgramOptions = {}): Promise<void> {
  const inside = listMounts().find(({ target }) => target.startsWith(`${path}/`));
  if (inside !== undefined) {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot remove "${path}"`, {
      reason: `something is mounted in it, at "${inside.target}"`,
    });
  }
  const command = ['rm', '--recursive', '--force', '--one-file-system', '--', path];
  await runProgram(`remove "${path}"`, command, options);
}

/** Flushes the whole file system that a path lies on to the disk. */
export async function flushFileSystem(path: string): Promise<void> {
  await runProgram(`flush the file system of "${path}"`, ['sync', '--file-system', '--', path]);
}
