import { expect, test } from 'vitest';
import { Semaphore } from './semaphore.ts';

const settle = () => new Promise((resolve) => setImmediate(resolve));

test('never lets more in than it has permits', async () => {
  const semaphore = new Semaphore(3);
  let [inside, most] = [0, 0];
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      using _permit = await semaphore.acquire();
      most = Math.max(most, ++inside);
      await settle();
      inside--;
    }),
  );
  expect(most).toBe(3);
});

test('serves in the order of the calls', async () => {
  const semaphore = new Semaphore(1);
  const order: number[] = [];
  await Promise.all(
    [1, 2, 3].map(async (number) => {
      using _permit = await semaphore.acquire();
      order.push(number);
      await settle();
    }),
  );
  expect(order).toEqual([1, 2, 3]);
});

test('one that gives up loses no permit', async () => {
  const semaphore = new Semaphore(1);
  const abort = new AbortController();
  const first = await semaphore.acquire();
  const second = semaphore.acquire(abort.signal);
  const third = semaphore.acquire();
  abort.abort(new Error('gave up'));
  await expect(second).rejects.toThrow('gave up');
  first[Symbol.dispose]();
  (await third)[Symbol.dispose]();
  (await semaphore.acquire())[Symbol.dispose]();
});

test('a permit had in the moment of the abort is not lost', async () => {
  const semaphore = new Semaphore(1);
  const abort = new AbortController();
  const first = await semaphore.acquire();
  const second = semaphore.acquire(abort.signal);
  first[Symbol.dispose]();
  abort.abort();
  (await second)[Symbol.dispose]();
  (await semaphore.acquire(AbortSignal.timeout(5000)))[Symbol.dispose]();
});

test('a permit given back twice counts once', async () => {
  const semaphore = new Semaphore(1);
  const first = await semaphore.acquire();
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  using _held = await semaphore.acquire();
  const abort = new AbortController();
  const next = semaphore.acquire(abort.signal);
  await settle();
  abort.abort(new Error('still waiting'));
  await expect(next).rejects.toThrow('still waiting');
});

test('an aborted signal gets no permit, and takes none', async () => {
  const semaphore = new Semaphore(1);
  await expect(semaphore.acquire(AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  (await semaphore.acquire())[Symbol.dispose]();
});
