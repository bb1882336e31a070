import { expect, test } from 'vitest';
import { codeOf } from './errors.ts';
import { abandonOn, deadlineExceeded, NEVER, sleep, withTimeout } from './signals.ts';

test('a sleep ends when its signal aborts', async () => {
  const abort = new AbortController();
  const sleeping = sleep(1e9, abort.signal);
  abort.abort(new Error('wake up'));
  await expect(sleeping).rejects.toThrow('wake up');
  await expect(sleep(1e9, abort.signal)).rejects.toThrow('wake up');
});

test('a deadline aborts with an error that says so', async () => {
  await expect(sleep(1e9, withTimeout(NEVER, 1)).catch((error) => codeOf(error))).resolves.toBe(
    'DEADLINE_EXCEEDED',
  );
});

test('a deadline still lets the given signal abort first', async () => {
  const abort = new AbortController();
  const waiting = sleep(1e9, withTimeout(abort.signal, 1e9));
  abort.abort(new Error('client is gone'));
  await expect(waiting).rejects.toThrow('client is gone');
});

test('what is waited for answers or fails as itself', async () => {
  expect(await abandonOn(NEVER, Promise.resolve(1))).toBe(1);
  await expect(abandonOn(NEVER, Promise.reject(new Error('no')))).rejects.toThrow('no');
});

test('a waiter gives up while the work goes on', async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const abort = new AbortController();
  const waiting = abandonOn(abort.signal, promise);
  abort.abort(new Error('gave up'));
  await expect(waiting).rejects.toThrow('gave up');
  resolve('done');
  expect(await promise).toBe('done');
});

test('work that fails after it was abandoned disturbs nobody', async () => {
  const unhandled: unknown[] = [];
  const note = (error: unknown) => unhandled.push(error);
  process.on('unhandledRejection', note);
  try {
    const failure = Promise.withResolvers<void>();
    const abort = new AbortController();
    const early = abandonOn(AbortSignal.abort(new Error('before')), failure.promise);
    const late = abandonOn(abort.signal, failure.promise);
    abort.abort(new Error('during'));
    await expect(early).rejects.toThrow('before');
    await expect(late).rejects.toThrow('during');
    failure.reject(new Error('nobody hears'));
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(unhandled).toEqual([]);
  } finally {
    process.off('unhandledRejection', note);
  }
});

test('a deadline is told in seconds', () => {
  expect(deadlineExceeded('Cannot stop container "c"', 1500).message).toBe(
    'Cannot stop container "c": no answer within 1.5 s',
  );
});
