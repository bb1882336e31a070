import { expect, test } from 'vitest';
import { Flights } from './flights.ts';
import { NEVER } from './signals.ts';

/** Work that ends when it is told to, and remembers its signal. */
function controlled() {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const starts: AbortSignal[] = [];
  const work = (signal: AbortSignal) => {
    starts.push(signal);
    return promise;
  };
  return { work, starts, resolve, reject };
}

test('calls with one key share the work and its result', async () => {
  const flights = new Flights<string>();
  const { work, starts, resolve } = controlled();
  const calls = [flights.join('a', NEVER, work), flights.join('a', NEVER, work)];
  resolve('done');
  expect(await Promise.all(calls)).toEqual(['done', 'done']);
  expect(starts).toHaveLength(1);
});

test('a call after the end starts anew, also after a failure', async () => {
  const flights = new Flights<string>();
  await expect(flights.join('a', NEVER, () => Promise.reject(new Error('no')))).rejects.toThrow(
    'no',
  );
  expect(flights.has('a')).toBe(false);
  expect(await flights.join('a', NEVER, async () => 'yes')).toBe('yes');
});

test('keys do not share', async () => {
  const flights = new Flights<string>();
  const both = ['a', 'b'].map((key) => flights.join(key, NEVER, async () => key));
  expect(await Promise.all(both)).toEqual(['a', 'b']);
});

test('one of several callers may give up alone', async () => {
  const flights = new Flights<string>();
  const abort = new AbortController();
  const { work, starts, resolve } = controlled();
  const first = flights.join('a', abort.signal, work);
  const second = flights.join('a', NEVER, work);
  abort.abort(new Error('gave up'));
  await expect(first).rejects.toThrow('gave up');
  expect(starts[0]!.aborted).toBe(false);
  resolve('done');
  expect(await second).toBe('done');
});

test('the work is aborted when the last caller gives up', async () => {
  const flights = new Flights<string>();
  const abort = new AbortController();
  const { work, starts, resolve } = controlled();
  const calls = [flights.join('a', abort.signal, work), flights.join('a', abort.signal, work)];
  abort.abort(new Error('gave up'));
  await Promise.allSettled(calls);
  expect(starts[0]!.aborted).toBe(true);
  expect(starts[0]!.reason).toMatchObject({ message: 'gave up' });
  resolve('late');
  await flights.landed();
});

test('a call that finds aborted work waits for its end and starts anew', async () => {
  const flights = new Flights<string>();
  const abort = new AbortController();
  const old = controlled();
  const given = flights.join('a', abort.signal, old.work);
  abort.abort(new Error('gave up'));
  await expect(given).rejects.toThrow('gave up');

  const fresh = controlled();
  const calls = [flights.join('a', NEVER, fresh.work), flights.join('a', NEVER, fresh.work)];
  await new Promise((resolve) => setImmediate(resolve));
  expect(fresh.starts).toHaveLength(0);
  old.reject(new Error('aborted'));
  fresh.resolve('anew');
  expect(await Promise.all(calls)).toEqual(['anew', 'anew']);
  expect(fresh.starts).toHaveLength(1);
});

test('a caller that waits for aborted work to end may give up as well', async () => {
  const flights = new Flights<string>();
  const { work, resolve } = controlled();
  const [first, second] = [new AbortController(), new AbortController()];
  const given = flights.join('a', first.signal, work);
  first.abort(new Error('first'));
  await expect(given).rejects.toThrow('first');
  const later = flights.join('a', second.signal, work);
  second.abort(new Error('second'));
  await expect(later).rejects.toThrow('second');
  resolve('late');
  await flights.landed();
});

test('a call that is aborted already starts nothing', async () => {
  const flights = new Flights<string>();
  const { work, starts } = controlled();
  const gone = AbortSignal.abort(new Error('gone'));
  await expect(flights.join('a', gone, work)).rejects.toThrow('gone');
  expect(starts).toHaveLength(0);
});

test('landing waits also for work that was started meanwhile', async () => {
  const flights = new Flights<string>();
  const [first, second] = [controlled(), controlled()];
  const calls = [flights.join('a', NEVER, first.work)];
  let landed = false;
  const landing = flights.landed().then(() => {
    landed = true;
  });
  calls.push(flights.join('b', NEVER, second.work));
  first.resolve('one');
  await new Promise((resolve) => setImmediate(resolve));
  expect(landed).toBe(false);
  second.resolve('two');
  expect(await Promise.all(calls)).toEqual(['one', 'two']);
  await landing;
});
