import { describe, expect, test } from 'vitest';
import {
  formatPlatform,
  hostPlatform,
  normalisePlatform,
  parsePlatform,
  platformRank,
  runnablePlatforms,
} from './platform.ts';

const platform = (text: string) => {
  const [os = '', architecture = '', variant] = text.split('/');
  return { os, architecture, variant };
};

describe('platforms', () => {
  test.each([
    ['linux/x86_64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['Linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm64/8', 'linux/arm64'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/i386', 'linux/386'],
    ['linux/riscv64', 'linux/riscv64'],
  ])('%s is %s', (text, normal) => {
    expect(formatPlatform(normalisePlatform(platform(text)))).toBe(normal);
  });

  test.each([
    ['linux/amd64/v3', 'linux/amd64/v3 linux/amd64/v2 linux/amd64 linux/386'],
    ['linux/amd64', 'linux/amd64 linux/386'],
    ['linux/arm/v7', 'linux/arm/v7 linux/arm/v6 linux/arm/v5'],
    ['linux/arm/v6', 'linux/arm/v6 linux/arm/v5'],
    ['linux/arm64', 'linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5'],
    ['linux/ppc64le', 'linux/ppc64le'],
  ])('%s runs %s', (host, list) => {
    expect(runnablePlatforms(platform(host)).map(formatPlatform).join(' ')).toBe(list);
  });

  test('arm64 minors run lower ones, and version 9 those of 8', () => {
    const list = runnablePlatforms(platform('linux/arm64/v9.0')).map(formatPlatform);
    expect(list.slice(0, 4)).toEqual([
      'linux/arm64/v9.0',
      'linux/arm64/v9',
      'linux/arm64/v8.5',
      'linux/arm64/v8.4',
    ]);
  });

  test('nothing of another system or of unknown platform runs', () => {
    for (const other of ['windows/amd64', 'linux/s390x', 'unknown/unknown', 'linux/amd64/v4']) {
      expect(platformRank(platform('linux/amd64/v3'), platform(other))).toBeUndefined();
    }
  });

  test('this machine', () => {
    expect(platformRank(hostPlatform(), hostPlatform())).toBe(0);
  });

  test.each([
    ['linux/arm/v6', 'linux/arm/v6'],
    ['linux', undefined],
    ['a/b/c/d', undefined],
    ['linux/', undefined],
  ])('"%s" is read', (text, expected) => {
    const parsed = parsePlatform(text);
    expect(parsed && formatPlatform(parsed)).toBe(expected);
  });
});
