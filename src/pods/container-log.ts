import { constants } from 'node:fs';
import { lstat, mkdir, open, realpath } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { errnoOf, ifExists, KeelsonError } from '../base/index.ts';

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = constants;

/**
 * Makes the log file of a container, with its directories. A pod may be able to write to its
 * log directory (a hostPath volume can lead there), and what writes the log is root: a link
 * below the directory, or anything but a regular file in place of the log, is refused with
 * FAILED_PRECONDITION. Nothing to do for a container without a log.
 */
export async function prepareLog(path: string | undefined, logDirectory: string): Promise<void> {
  if (path === undefined) return;
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await checkLog(path, logDirectory);
  try {
    // A FIFO would wait for a reader.
    const flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK;
    await using _log = await open(path, flags, 0o640);
  } catch (error) {
    if (errnoOf(error) === 'ELOOP') throw refusal(path, 'it is a link');
    throw error;
  }
}

/** Fails unless the log can be opened by name and is where its name says. It may be absent. */
export async function checkLog(path: string, logDirectory: string): Promise<void> {
  const directory = dirname(path);
  const real = await realpath(directory);
  if (real !== join(await realpath(logDirectory), relative(logDirectory, directory))) {
    throw refusal(path, `a link leads from its directory to "${real}"`);
  }
  const found = await ifExists(lstat(path));
  if (found === undefined || found.isFile()) return;
  throw refusal(path, `it is ${found.isSymbolicLink() ? 'a link' : 'not a regular file'}`);
}

function refusal(path: string, reason: string): KeelsonError {
  return new KeelsonError('FAILED_PRECONDITION', `Cannot write log "${path}"`, { reason });
}
