import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  deviceNumber,
  getXattr,
  makeNode,
  S_IF,
  setTimes,
  setXattr,
  splitDeviceNumber,
} from './inodes.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keelson-inodes-'));
  path = join(directory, 'file');
});
afterEach(() => rmSync(directory, { recursive: true }));

test.each([
  ['null', 1, 3, 0x103n],
  ['a large minor', 8, 0x12345, 0x12300845n],
  ['the largest of the kernel', 0xfff, 0xfffff, 0xffffffffn],
  ['the largest of the C library', 0xffffffff, 0xffffffff, 0xffffffffffffffffn],
])('the device number of %s is that of the C library', (_what, major, minor, number) => {
  expect(deviceNumber(major, minor)).toBe(number);
  expect(splitDeviceNumber(number)).toEqual({ major, minor });
});

test('the device number that stat tells is split', () => {
  expect(splitDeviceNumber(statSync('/dev/null').rdev)).toEqual({ major: 1, minor: 3 });
});

test('device nodes and FIFOs are made', async () => {
  makeNode(path, S_IF.CHR | 0o600, 0, 0);
  expect((await lstat(path)).isCharacterDevice()).toBe(true);
  makeNode(Buffer.from(join(directory, 'fifo')), S_IF.FIFO | 0o600);
  expect((await lstat(join(directory, 'fifo'))).isFIFO()).toBe(true);
});

test('attributes are read as they were written', () => {
  writeFileSync(path, '');
  const value = Buffer.from([0, 1, 255]);
  setXattr(path, 'trusted.test', value);
  expect(getXattr(path, 'trusted.test')).toEqual(value);
  setXattr(path, 'trusted.empty', Buffer.alloc(0));
  expect(getXattr(path, 'trusted.empty')).toHaveLength(0);
});

test('an attribute that is not there is an error', () => {
  writeFileSync(path, '');
  expect(() => getXattr(path, 'trusted.test')).toThrow('ENODATA');
});

test('attributes belong to a link, not to what it leads to', () => {
  writeFileSync(path, '');
  const link = join(directory, 'link');
  symlinkSync(path, link);
  setXattr(link, 'trusted.test', Buffer.from('link'));
  expect(() => getXattr(path, 'trusted.test')).toThrow('ENODATA');
});

test.each([
  [1_700_000_000, 123_456_789],
  [-1, 999_999_999],
  [0, 0],
])('the time %i s and %i ns is kept exactly, on the link itself', async (seconds, nanoseconds) => {
  symlinkSync('nowhere', path);
  setTimes(path, seconds, nanoseconds);
  const { mtimeNs } = await lstat(path, { bigint: true });
  expect(mtimeNs).toBe(BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds));
});

test.each([
  ['text', 'a\0b'],
  ['bytes', Buffer.from('a\0b')],
])('a path of %s with a NUL byte is refused', (_what, bad) =>
  expect(() => makeNode(bad, S_IF.FIFO)).toThrow('NUL byte'),
);
