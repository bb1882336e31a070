import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { errnoOf, sleep } from '../base/index.ts';
import { raw, syscall } from './ffi.ts';

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;

/** Milliseconds between two tries for a lock that another process holds. */
const LONGEST_PAUSE = 50;

/**
 * Takes the flock(2) lock of a file, which is made if it is not there. The lock ends when
 * it is disposed or the process dies. Two locks taken in one process exclude each other
 * like those of two processes.
 *
 *     await using held = await lockFile(path, 'exclusive', signal);
 */
export async function lockFile(
  path: string,
  kind: 'shared' | 'exclusive',
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    // A blocking flock would hold the event loop, or a thread for ever.
    for (let pause = 1; !tryLock(path, file.fd, kind); pause = Math.min(LONGEST_PAUSE, pause * 2)) {
      await sleep(pause, signal);
    }
  } catch (error) {
    await file.close();
    throw error;
  }
  return { [Symbol.asyncDispose]: () => file.close() };
}

function tryLock(path: string, fd: number, kind: 'shared' | 'exclusive'): boolean {
  const operation = (kind === 'shared' ? LOCK_SH : LOCK_EX) | LOCK_NB;
  try {
    syscall(`lock ${path}`, () => raw.flock(fd, operation));
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EAGAIN') return false;
    throw error;
  }
}
