import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { paced } from './pace.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));
afterEach(() => void vi.useRealTimers());

/** Chunks of so many bytes that each take so many milliseconds to come. */
async function* body(chunks: number, bytes: number, milliseconds: number) {
  for (let chunk = 0; chunk < chunks; chunk++) {
    vi.advanceTimersByTime(milliseconds);
    yield Buffer.alloc(bytes);
  }
}

/** Takes all of it, so many milliseconds for each chunk, and answers the bytes. */
async function take(chunks: AsyncIterable<Buffer>, milliseconds = 0): Promise<number> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    vi.advanceTimersByTime(milliseconds);
  }
  return bytes;
}

test('a byte now and then is no transfer', async () => {
  await expect(take(paced(body(100, 1, 2000), 10_000))).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('too slow: 5 bytes in 10 s'),
  });
});

test('a fast beginning does not excuse it', async () => {
  async function* fading() {
    yield* body(1, 1_000_000, 10_000);
    yield* body(100, 1, 2000);
  }
  await expect(take(paced(fading(), 10_000))).rejects.toThrow('too slow');
});

test('1 KiB/s is enough', async () => {
  expect(await take(paced(body(100, 2048, 2000), 10_000))).toBe(204_800);
});

test('the time that the chunks take elsewhere does not count', async () => {
  expect(await take(paced(body(100, 10, 1), 10_000), 60_000)).toBe(1000);
});
