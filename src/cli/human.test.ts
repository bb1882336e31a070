import { describe, expect, it } from 'vitest';
import { ago, humanDuration, humanSize, timestamp, truncatedId } from './human.ts';

const [second, minute, hour, day] = [1000, 60_000, 3_600_000, 86_400_000];

describe('durations', () => {
  it.each([
    [0, 'Less than a second'],
    [-5 * second, 'Less than a second'],
    [1.9 * second, '1 second'],
    [59.9 * second, '59 seconds'],
    [minute, 'About a minute'],
    [2 * minute - 1, 'About a minute'],
    [59 * minute, '59 minutes'],
    [60 * minute, 'About an hour'],
    [89 * minute, 'About an hour'],
    [90 * minute, '2 hours'],
    [47 * hour, '47 hours'],
    [3 * day, '3 days'],
    [13 * day, '13 days'],
    [14 * day, '2 weeks'],
    [70 * day, '2 months'],
    [800 * day, '2 years'],
  ])('%i ms is "%s"', (milliseconds, text) => {
    expect(humanDuration(milliseconds)).toBe(text);
  });

  it('counts from a time in nanoseconds', () => {
    expect(ago(1_700_000_000_123_456_789n, 1_700_000_180_200)).toBe('3 minutes ago');
  });
});

describe('sizes', () => {
  it.each([
    [0, 3, '0B'],
    [999, 3, '999B'],
    [4_261_574n, 3, '4.26MB'],
    [742_000, 3, '742kB'],
    [1_234_567_890_123n, 4, '1.235TB'],
  ])('%s with %i digits is %s', (bytes, digits, text) => {
    expect(humanSize(bytes, digits)).toBe(text);
  });
});

describe('timestamps', () => {
  it('keeps all digits', () => {
    expect(timestamp(1_475_712_000_000_000_007n)).toBe('2016-10-06T00:00:00.000000007Z');
  });

  it('shows no time as the zero time', () => {
    expect(timestamp(0n)).toBe('0001-01-01T00:00:00Z');
  });
});

it('shortens ids', () => {
  expect(truncatedId(`sha256:${'a'.repeat(64)}`)).toBe('a'.repeat(13));
  expect(truncatedId('abc')).toBe('abc');
});
