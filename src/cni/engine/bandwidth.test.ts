import { expect, test } from 'vitest';
import { bandwidthOf, parseQuantity } from './bandwidth.ts';

test.each<[string, number | undefined]>([
  ['10M', 10e6],
  ['1Gi', 2 ** 30],
  ['1.1G', 1.1e9],
  ['.5k', 500],
  ['1e6', 1e6],
  ['1E3', 1000],
  ['1E', 1e18],
  ['1500m', 2],
  ['100', 100],
  ['+2k', 2000],
  ['-1M', -1e6],
  ['', undefined],
  ['M', undefined],
  ['1 M', undefined],
  ['1MB', undefined],
  ['1K', undefined],
  ['0x10', undefined],
  ['1e', undefined],
  ['Infinity', undefined],
])('quantity %j', (text, value) => {
  expect(parseQuantity(text)).toBe(value);
});

test('limits from annotations', () => {
  expect(bandwidthOf({})).toBeUndefined();
  expect(bandwidthOf({ 'kubernetes.io/egress-bandwidth': '1M', other: 'x' })).toEqual({
    egressRate: 1e6,
    egressBurst: 4294967295,
  });
  for (const value of ['', '999', '2P', '-1M', '__proto__']) {
    expect(() => bandwidthOf({ 'kubernetes.io/ingress-bandwidth': value }), value).toThrow(
      /must be a quantity from 1k to 1P/,
    );
  }
});
