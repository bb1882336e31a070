import { describe, expect, test } from 'vitest';
import { invalid, noNul, nonZero, plainText, required, toNumber } from './invalid.ts';

test('an error names the field', () => {
  expect(invalid('config.x', 'it is odd', 'try even')).toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: 'Invalid config.x: it is odd (try even)',
  });
});

test.each([undefined, ''])('%j is missing', (value) => {
  expect(() => required('field', value)).toThrow('Invalid field: it is missing');
});

test.each([0, false, ' ', []])('%j is there', (value) => {
  expect(required('field', value)).toBe(value);
});

describe('numbers', () => {
  test.each([0n, -5n, BigInt(Number.MAX_SAFE_INTEGER)])('%i is exact', (value) => {
    expect(BigInt(toNumber('field', value))).toBe(value);
  });

  test.each([2n ** 53n, -(2n ** 63n)])('%i would not be exact', (value) => {
    expect(() => toNumber('field', value)).toThrow(`${value} is out of range`);
  });

  test('of 0 are not given', () => {
    expect(nonZero('field', 0n)).toBeUndefined();
    expect(nonZero('field', -1n)).toBe(-1);
  });
});

test.each(['a\nb', 'a\rb', 'a\0b', '\n'])('%j is no plain text', (value) => {
  expect(() => plainText('field', value)).toThrow(JSON.stringify(value));
});

test('a NUL byte is refused, a line break is not', () => {
  expect(() => noNul('field', 'a\0')).toThrow('"a\\u0000" holds a NUL byte');
  expect(noNul('field', 'a\n')).toBe('a\n');
});
