import { expect, test } from 'vitest';
import { span } from '../base/index.ts';
import { SpanRing } from './span-ring.ts';

const leaf = async () => {};
/** A call that led to `children` more spans. */
const call = (name: string, children: number, text = '') =>
  span(name, {}, async () => {
    for (let n = 0; n < children; n++) await span(`${name}.${n}`, { text }, leaf);
  });

const names = (ring: SpanRing) => ring.spans.map(({ name }) => name);

test('whole traces are kept; the oldest goes when there are too many spans', async () => {
  using ring = new SpanRing({ spans: 6 });
  await call('a', 2);
  await call('b', 2);
  expect(names(ring)).toEqual(['a.0', 'a.1', 'a', 'b.0', 'b.1', 'b']);
  await call('c', 1);
  expect(names(ring)).toEqual(['b.0', 'b.1', 'b', 'c.0', 'c']);
});

test('or too long ones', async () => {
  using ring = new SpanRing({ characters: 5000 });
  await call('a', 1, 'x'.repeat(2000));
  await call('b', 2, 'x'.repeat(2000));
  expect(names(ring)).toEqual(['b.0', 'b.1', 'b']);
});

test('calls that led to nothing push out no others', async () => {
  using ring = new SpanRing({ spans: 10, lone: 2 });
  await call('made', 1);
  for (let n = 0; n < 50; n++) await call('look', 0);
  expect(names(ring)).toEqual(['made.0', 'made', 'look', 'look']);
  await expect(span('fails', {}, () => Promise.reject(new Error('no')))).rejects.toThrow();
  for (let n = 0; n < 50; n++) await call('look', 0);
  expect(names(ring)).toContain('fails');
});

test('one trace does not take all the room, and its root is kept', async () => {
  using ring = new SpanRing();
  await call('before', 1);
  await call('long', 5000);
  expect(ring.spans.length).toBeLessThan(1100);
  expect(names(ring)).toContain('before');
  expect(names(ring).at(-1)).toBe('long');
});

test('a reader follows from now on, with what starts; a slow one misses the oldest', async () => {
  using ring = new SpanRing({ spans: 5 });
  await call('before', 0);
  const stop = new AbortController();
  const reader = ring.follow(stop.signal, { onlyNew: true, starts: true });
  const first = reader.next();
  await call('a', 0);
  expect(await first).toMatchObject({ value: { name: 'a' } });
  expect((await first).value).not.toHaveProperty('milliseconds');
  expect(await reader.next()).toMatchObject({
    value: { name: 'a', milliseconds: expect.anything() },
  });
  for (let n = 0; n < 20; n++) await call(`b${n}`, 0);
  expect(await reader.next()).toMatchObject({ value: { name: 'b17' } });
  stop.abort();
  while (!(await reader.next()).done);
});
