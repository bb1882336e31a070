import { KeelsonError } from './errors.ts';

/** A signal that never aborts, for work that nobody may cancel. */
export const NEVER: AbortSignal = new AbortController().signal;

/** A signal that aborts with `signal` or after `milliseconds`, whichever comes first. */
export function withTimeout(signal: AbortSignal, milliseconds: number): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(milliseconds)]);
}

/** Waits; rejects with the signal's reason when it aborts. */
export function sleep(milliseconds: number, signal: AbortSignal = NEVER): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, milliseconds);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/**
 * Waits for `work` no longer than the signal allows. The work itself goes on: use this
 * for one waiter among several, or for work that cannot be cancelled.
 */
export function abandonOn<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  if (signal.aborted) {
    work.catch(() => {});
    return Promise.reject(signal.reason);
  }
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** An abort reason for a deadline that ran out during `action`. */
export function deadlineExceeded(action: string, milliseconds: number): KeelsonError {
  return new KeelsonError('DEADLINE_EXCEEDED', action, {
    reason: `no answer within ${milliseconds / 1000} s`,
  });
}
