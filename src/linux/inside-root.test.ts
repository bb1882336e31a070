import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeNode, S_IF } from './inodes.ts';
import { copyFromRoot, readFileInRoot, resolveInRoot } from './inside-root.ts';

let directory: string;
let root: string;
beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'keelson-root-')));
  root = join(directory, 'root');
  mkdirSync(join(root, 'etc'), { recursive: true });
  writeFileSync(join(root, 'etc/passwd'), 'inside');
  writeFileSync(join(directory, 'secret'), 'outside');
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('reading', () => {
  test('takes paths with and without a slash as below the root', () => {
    expect(readFileInRoot(root, '/etc/passwd')).toBe('inside');
    expect(readFileInRoot(root, 'etc/passwd')).toBe('inside');
  });

  test.each([
    ['an absolute link', '/etc/passwd'],
    ['a link that climbs above the root', '../../../../../../etc/passwd'],
    ['a relative link', '../etc/passwd'],
  ])('follows %s inside the root', (_what, target) => {
    mkdirSync(join(root, 'run'));
    symlinkSync(target, join(root, 'run/link'));
    expect(readFileInRoot(root, '/run/link')).toBe('inside');
  });

  test.each([
    ['a path', '../secret'],
    ['an absolute path', '/../secret'],
    ['a path through a directory', '/etc/../../secret'],
  ])('does not leave by %s', (_what, path) => {
    expect(readFileInRoot(root, path)).toBeUndefined();
  });

  test('does not leave by a link to a directory', () => {
    symlinkSync('..', join(root, 'up'));
    symlinkSync(directory, join(root, 'out'));
    expect(readFileInRoot(root, '/up/secret')).toBeUndefined();
    expect(readFileInRoot(root, '/out/secret')).toBeUndefined();
  });

  test('does not leave by the magic links of procfs', () => {
    symlinkSync(`/proc/self/root${directory}/secret`, join(root, 'etc/magic'));
    expect(readFileInRoot('/', join(root, 'etc/magic'))).toBeUndefined();
    expect(readFileInRoot('/', `/proc/self/root${directory}/secret`)).toBeUndefined();
  });

  test('a link to itself is no file', () => {
    symlinkSync('loop', join(root, 'loop'));
    expect(readFileInRoot(root, '/loop')).toBeUndefined();
  });

  test('a file below a file is no file', () => {
    expect(readFileInRoot(root, '/etc/passwd/x')).toBeUndefined();
  });

  test('refuses a directory, a FIFO and a device, and waits for none', () => {
    makeNode(join(root, 'fifo'), S_IF.FIFO | 0o600);
    makeNode(join(root, 'device'), S_IF.CHR | 0o600, 1, 5);
    for (const path of ['/etc', '/fifo', '/device']) {
      expect(() => readFileInRoot(root, path)).toThrow('it is not a regular file');
    }
  });

  test('does not even open a device: that alone may do something', () => {
    // Nobody drives such a device: opening it would fail.
    makeNode(join(root, 'device'), S_IF.CHR | 0o600, 0xfe, 0x3ffff);
    expect(() => readFileInRoot(root, '/device')).toThrow('it is not a regular file');
  });

  test('refuses a socket', async () => {
    const server = createServer();
    await new Promise<void>((listening) => server.listen(join(root, 'socket'), listening));
    expect(() => readFileInRoot(root, '/socket')).toThrow('it is not a regular file');
    await new Promise((closed) => server.close(closed));
  });

  test('refuses a file larger than the limit', () => {
    truncateSync(join(root, 'etc/passwd'), 1 << 30);
    expect(() => readFileInRoot(root, '/etc/passwd')).toThrow('it is larger than 4194304 bytes');
    expect(() => readFileInRoot(root, '/etc/passwd', 5)).toThrow('larger than 5 bytes');
  });

  test('refuses a name with a NUL byte', () => {
    expect(() => readFileInRoot(root, '/etc/passwd\0x')).toThrow('NUL byte');
  });

  test('leaves no descriptor open', () => {
    const count = () => readdirSync('/proc/self/fd').length;
    const before = count();
    for (let times = 0; times < 50; times++) {
      readFileInRoot(root, '/etc/passwd');
      readFileInRoot(root, '/nothing');
      expect(() => readFileInRoot(root, '/etc')).toThrow();
    }
    expect(count()).toBe(before);
  });
});

test('a path is resolved to where it really lies', () => {
  symlinkSync('/etc', join(root, 'link'));
  expect(resolveInRoot(root, '/link/passwd')).toBe(join(root, 'etc/passwd'));
  expect(resolveInRoot(root, '/../..')).toBe(root);
  expect(resolveInRoot(root, '/nothing')).toBeUndefined();
});

describe('copying', () => {
  let target: string;
  beforeEach(() => {
    target = join(directory, 'target');
    mkdirSync(target);
  });

  test('takes what a directory holds, and links as links', async () => {
    mkdirSync(join(root, 'data/-deep'), { recursive: true });
    writeFileSync(join(root, 'data/-deep/.hidden'), 'x', { mode: 0o640 });
    symlinkSync('/etc/passwd', join(root, 'data/link'));
    await copyFromRoot(root, '/data', target);
    expect(readFileSync(join(target, '-deep/.hidden'), 'utf8')).toBe('x');
    expect(statSync(join(target, '-deep/.hidden')).mode & 0o777).toBe(0o640);
    expect(readlinkSync(join(target, 'link'))).toBe('/etc/passwd');
  });

  test('does not leave the root', async () => {
    symlinkSync(directory, join(root, 'out'));
    await copyFromRoot(root, '/out', target);
    await copyFromRoot(root, '/../', target);
    expect(existsSync(join(target, 'secret'))).toBe(false);
  });

  test('takes nothing from a file or from nothing', async () => {
    await copyFromRoot(root, '/etc/passwd', target);
    await copyFromRoot(root, '/nothing', target);
  });

  test('says why it fails', async () => {
    await expect(copyFromRoot(root, '/etc', join(directory, 'secret'))).rejects.toThrow(
      'Cannot copy "/etc" of the image',
    );
  });
});
