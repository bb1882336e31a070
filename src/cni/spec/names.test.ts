import { expect, test } from 'vitest';
import {
  checkContainerId,
  checkInterfaceName,
  checkPluginType,
  formatArgs,
  isCniName,
} from './names.ts';

test('names of networks and containers', () => {
  expect(['a', '0', 'a.b-c_D9'].map(isCniName)).toEqual([true, true, true]);
  expect(['', '.a', '-a', 'a/b', 'a b', 'é', 'a\n'].filter(isCniName)).toEqual([]);
  expect(() => checkContainerId('../x')).toThrow(/CNI_CONTAINERID/);
});

test('names of interfaces', () => {
  for (const name of ['eth0', 'a'.repeat(15), 'é', '-']) checkInterfaceName(name);
  for (const name of [
    '',
    'a'.repeat(16),
    'é'.repeat(8),
    '.',
    '..',
    'a/b',
    'a:b',
    'a b',
    'a\t',
    'a\0',
  ]) {
    expect(() => checkInterfaceName(name), name).toThrow(/CNI_IFNAME/);
  }
});

test('plugin types name no other place', () => {
  for (const type of ['', '.', '..', 'a/b', '/bin/sh', 'a\0']) {
    expect(() => checkPluginType(type), type).toThrow(/Invalid plugin type/);
  }
});

test('CNI_ARGS', () => {
  expect(formatArgs([])).toBe('');
  expect(
    formatArgs([
      ['A', '1'],
      ['B', ''],
    ]),
  ).toBe('A=1;B=');
  for (const pair of [
    ['A', '1;B=2'],
    ['A=B', '1'],
    ['A', '1=2'],
    ['', 'x'],
    ['A', '\0'],
  ] as const) {
    expect(() => formatArgs([pair]), pair.join()).toThrow(/CNI_ARGS/);
  }
});
