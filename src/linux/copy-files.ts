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

/** Removes a tree, but nothing of another file system that is mounted in it. */
export async function removeTree(path: string, options: ProgramOptions = {}): Promise<void> {
  const command = ['rm', '--recursive', '--force', '--one-file-system', '--', path];
  await runProgram(`remove "${path}"`, command, options);
}

/** Flushes the whole file system that a path lies on to the disk. */
export async function flushFileSystem(path: string): Promise<void> {
  await runProgram(`flush the file system of "${path}"`, ['sync', '--file-system', '--', path]);
}
