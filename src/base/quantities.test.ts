import { describe, expect, it } from 'vitest';
import { formatDuration, formatSize, parseDuration, parseSize } from './quantities.ts';

describe('durations', () => {
  it.each([
    ['90s', 90_000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['250ms', 250],
    ['0', 0],
  ])('reads %s', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  it.each(['', '5', '5 s', '-1s', '1d', 's', '1s2'])('refuses "%s"', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it.each([0, 1, 999, 1000, 90_000, 3_600_000])('writes %i so that it reads the same', (value) => {
    expect(parseDuration(formatDuration(value))).toBe(value);
  });
});

describe('sizes', () => {
  it.each([
    ['4096', 4096],
    ['64MiB', 67_108_864],
    ['10M', 10_000_000],
    ['0', 0],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', '1.5MiB', '-1', '1 MiB', '1Mi', '99999999999TiB'])('refuses "%s"', (text) => {
    expect(parseSize(text)).toBeUndefined();
  });

  it.each([0, 1023, 1024, 67_108_864])('writes %i so that it reads the same', (value) => {
    expect(parseSize(formatSize(value))).toBe(value);
  });
});
