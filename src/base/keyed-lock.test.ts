import { expect, test } from 'vitest';
import { KeyedLock } from './keyed-lock.ts';

/** Lets everything that can go on do so. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test('holders of one key take turns in the order of their calls', async () => {
  const locks = new KeyedLock();
  const events: string[] = [];
  const hold = async (name: string) => {
    using _held = await locks.acquire('pod');
    events.push(`${name} in`);
    await settle();
    events.push(`${name} out`);
  };
  await Promise.all(['a', 'b', 'c'].map(hold));
  expect(events).toEqual(['a in', 'a out', 'b in', 'b out', 'c in', 'c out']);
});

test('other keys are not waited for', async () => {
  const locks = new KeyedLock();
  using _one = await locks.acquire('one');
  using _two = await locks.acquire('two');
});

test('an aborted signal gets no lock, and takes none', async () => {
  const locks = new KeyedLock();
  const reason = new Error('gone');
  await expect(locks.acquire('pod', AbortSignal.abort(reason))).rejects.toBe(reason);
  expect(locks.size).toBe(0);
});

test('one that gives up lets the next have its turn, and not before its turn', async () => {
  const locks = new KeyedLock();
  const abort = new AbortController();
  const first = await locks.acquire('pod');
  const second = locks.acquire('pod', abort.signal);
  let third: Disposable | undefined;
  const waiting = locks.acquire('pod').then((held) => {
    third = held;
  });
  abort.abort(new Error('gave up'));
  await expect(second).rejects.toThrow('gave up');
  await settle();
  expect(third).toBeUndefined();
  first[Symbol.dispose]();
  await waiting;
  third?.[Symbol.dispose]();
  await settle();
  expect(locks.size).toBe(0);
});

test('a lock had in the moment of the abort is either kept or handed on', async () => {
  const locks = new KeyedLock();
  const abort = new AbortController();
  const first = await locks.acquire('pod');
  const second = locks.acquire('pod', abort.signal);
  first[Symbol.dispose]();
  abort.abort(new Error('gave up'));
  await second.then(
    (held) => held[Symbol.dispose](),
    () => {},
  );
  using _third = await locks.acquire('pod', AbortSignal.timeout(5000));
});

test('releasing twice does not let two in', async () => {
  const locks = new KeyedLock();
  const first = await locks.acquire('pod');
  first[Symbol.dispose]();
  using _second = await locks.acquire('pod');
  first[Symbol.dispose]();
  const abort = new AbortController();
  const third = locks.acquire('pod', abort.signal);
  await settle();
  abort.abort(new Error('still waiting'));
  await expect(third).rejects.toThrow('still waiting');
});

test('keys that nobody uses take no memory', async () => {
  const locks = new KeyedLock();
  for (let key = 0; key < 100; key++) {
    using _held = await locks.acquire(String(key));
  }
  await settle();
  expect(locks.size).toBe(0);
});
