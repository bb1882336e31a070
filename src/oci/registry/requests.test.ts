import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { NEVER } from '../../base/index.ts';
import { type StatusError, statusError, waitBefore } from './requests.ts';

const NOW = Date.parse('2025-03-01T12:00:00Z');

beforeEach(() => void vi.useFakeTimers({ now: NOW, toFake: ['Date', 'setTimeout'] }));
afterEach(() => void vi.useRealTimers());

function answer(retryAfter?: string): Promise<StatusError> {
  return statusError({
    status: 429,
    headers: retryAfter === undefined ? {} : { 'retry-after': retryAfter },
    body: Readable.from([]),
    stallTimeout: 1000,
    url: new URL('https://registry.test/v2/'),
  });
}

test.each([
  ['7', 7000],
  ['Sat, 01 Mar 2025 12:00:20 GMT', 20_000],
  ['Sat, 01 Mar 2025 11:00:00 GMT', 0],
  ['soon', undefined],
  [undefined, undefined],
])('Retry-After %s is %s milliseconds from now', async (header, milliseconds) => {
  expect((await answer(header)).retryAfter).toBe(milliseconds);
});

describe('the wait before the next try', () => {
  /** Milliseconds that are waited. */
  async function waited(attempt: number, error: unknown): Promise<number> {
    let over = false;
    const waiting = waitBefore(attempt, error, { backOff: 100, signal: NEVER }).then(() => {
      over = true;
    });
    while (!over) await vi.advanceTimersByTimeAsync(10);
    await waiting;
    return Date.now() - NOW;
  }

  test('is what the registry asks for, 30 seconds at most', async () => {
    expect(await waited(1, await answer('Sat, 01 Mar 2025 12:00:20 GMT'))).toBe(20_000);
    vi.setSystemTime(NOW);
    expect(await waited(1, await answer('86400'))).toBe(30_000);
  });

  test('else doubles with each failure, give or take a half', async () => {
    for (const [attempt, middle] of [
      [1, 100],
      [2, 200],
      [5, 1600],
    ] as const) {
      vi.setSystemTime(NOW);
      const milliseconds = await waited(attempt, await answer());
      expect(milliseconds).toBeGreaterThanOrEqual(middle / 2);
      expect(milliseconds).toBeLessThanOrEqual(middle * 1.5 + 10);
    }
  });
});
