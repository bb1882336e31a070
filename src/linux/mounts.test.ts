import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  bindMount,
  listMounts,
  MS,
  mount,
  mountOf,
  mountOverlay,
  parseMountInfo,
  unmount,
  unmountAll,
} from './mounts.ts';

describe('mountinfo', () => {
  test('is read field by field', () => {
    const line =
      '36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue';
    expect(parseMountInfo(`${line}\n`)).toEqual([
      {
        id: 36,
        parent: 35,
        root: '/mnt1',
        target: '/mnt2',
        options: ['rw', 'noatime'],
        propagation: ['shared:1', 'master:2'],
        type: 'ext3',
        source: '/dev/root',
        superOptions: ['rw', 'errors=continue'],
      },
    ]);
  });

  test('may have no propagation and an empty source', () => {
    const [mount] = parseMountInfo('25 1 0:22 / /run rw -  tmpfs  rw'.replace('-  ', '- '));
    expect(mount).toMatchObject({ propagation: [], type: 'tmpfs', source: '', target: '/run' });
  });

  test.each([
    ['a space', '/a\\040b', '/a b'],
    ['a tab and a newline', '/a\\011b\\012c', '/a\tb\nc'],
    ['a backslash before digits', '/a\\134040', '/a\\040'],
    ['a hash', '/a\\043', '/a#'],
    ['what looks like the separator', '/a\\040-\\040b', '/a - b'],
    ['letters beyond ASCII', '/Ärger', '/Ärger'],
  ])('tells of %s in a path', (_what, written, meant) => {
    const [mount] = parseMountInfo(`1 0 0:1 ${written} ${written} rw - tmpfs ${written} rw`);
    expect(mount).toMatchObject({ root: meant, target: meant, source: meant });
  });

  test('holds no mounts in empty lines', () => expect(parseMountInfo('\n\n')).toEqual([]));
});

describe('the mount of a path', () => {
  const mounts = parseMountInfo(
    [
      '1 0 0:1 / / rw - ext4 root rw',
      '2 1 0:2 / /var/lib rw - ext4 lower rw',
      '3 1 0:3 / /var rw - tmpfs unrelated rw',
      '4 2 0:4 / /var/lib rw - ext4 upper rw',
    ].join('\n'),
  );

  test.each([
    ['/var/lib/x', 'upper'],
    ['/var/lib', 'upper'],
    ['/var/library', 'unrelated'],
    ['/etc', 'root'],
    ['/', 'root'],
  ])('%s lies on %s', (path, source) => expect(mountOf(path, mounts)?.source).toBe(source));
});

describe('mounting', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'keelson-mounts-'));
  });
  afterEach(async () => {
    for (const { target } of listMounts().reverse()) {
      if (target.startsWith(`${directory}/`)) unmountAll(target);
    }
    await rm(directory, { recursive: true });
  });

  const make = async (...names: string[]) => {
    const paths = names.map((name) => join(directory, name));
    for (const path of paths) await mkdir(path, { recursive: true });
    return paths;
  };

  test('takes flags and options', async () => {
    const [target = ''] = await make('t mp');
    mount({ source: 'shm', target, type: 'tmpfs', flags: MS.NOEXEC, data: 'size=64k,mode=1777' });
    const found = listMounts().find((each) => each.target === target);
    expect(found?.options).toContain('noexec');
    expect(found?.superOptions).toContain('size=64k');
  });

  test('several times in one place takes as many unmounts, or one of all', async () => {
    const [source = '', target = ''] = await make('source', 'target');
    for (let times = 0; times < 3; times++) bindMount(source, target);
    expect(unmount(target)).toBe(true);
    unmountAll(target);
    expect(unmount(target)).toBe(false);
  });

  test('is not needed for unmounting, nor is a directory', () => {
    expect(unmount(directory)).toBe(false);
    expect(unmount(join(directory, 'nothing'))).toBe(false);
  });

  test('is not undone through a link', async () => {
    const [source = '', target = ''] = await make('source', 'target');
    bindMount(source, target);
    symlinkSync(target, join(directory, 'link'));
    expect(unmount(join(directory, 'link'))).toBe(false);
    expect(unmount(target)).toBe(true);
  });

  test('says what failed', () => {
    const target = join(directory, 'nothing');
    expect(() => mount({ source: 'x', target, type: 'tmpfs' })).toThrow(
      `mount tmpfs x on ${target}: ENOENT`,
    );
    expect(() => bindMount('a\0b', target)).toThrow('NUL byte');
  });

  test('an overlay shows its layers, topmost first, and keeps writes apart', async () => {
    const [top = '', base = '', upper = '', work = '', target = ''] = await make(
      ...['top', 'base', 'upper', 'work', 'target'],
    );
    writeFileSync(join(base, 'file'), 'base');
    writeFileSync(join(base, 'other'), '');
    writeFileSync(join(top, 'file'), 'top');
    mountOverlay({ lower: [top, base], upper, work, target });
    expect(readFileSync(join(target, 'file'), 'utf8')).toBe('top');
    writeFileSync(join(target, 'new'), '');
    expect(readdirSync(target).sort()).toEqual(['file', 'new', 'other']);
    expect(readdirSync(upper)).toEqual(['new']);
  });

  test('an overlay takes paths with commas, colons and backslashes', async () => {
    const names = ['lower', 'upper', 'work', 'target'].map((name) => `a,b:c\\d ${name}`);
    const [lower = '', upper = '', work = '', target = ''] = await make(...names);
    writeFileSync(join(lower, 'file'), '');
    mountOverlay({ lower: [lower], upper, work, target });
    expect(existsSync(join(target, 'file'))).toBe(true);
  });

  /** Makes so many layers that their full paths do not fit a page. */
  const makeLayers = async (parent: string) => {
    const names = Array.from({ length: 30 }, (_, index) => `${'x'.repeat(150)}${index}`);
    for (const name of names) {
      await mkdir(join(parent, name), { recursive: true });
      writeFileSync(join(parent, name, `file-${name.slice(150)}`), '');
    }
    return names.map((name) => join(parent, name));
  };

  test('an overlay takes more layers than one page of options names', async () => {
    const [upper = '', work = '', target = ''] = await make('upper', 'work', 'target');
    const home = process.cwd();
    const long = join(directory, 'y'.repeat(100));
    const lower = await makeLayers(long);
    const short = lower.map((path, index) => {
      symlinkSync(path, join(long, String(index)));
      return join(long, String(index));
    });
    mountOverlay({ lower: short, upper, work, target });
    expect(readdirSync(target)).toHaveLength(30);
    expect(process.cwd()).toBe(home);
  });

  test('layers too long for a page even with short names are refused', async () => {
    const [upper = '', work = '', target = ''] = await make('upper', 'work', 'target');
    const lower = await makeLayers(directory);
    expect(() => mountOverlay({ lower, upper, work, target })).toThrow('mount overlay');
    expect(listMounts().some((each) => each.target === target)).toBe(false);
  });

  test('layers that share no directory but the root are tried as well', async () => {
    const [upper = '', work = '', target = ''] = await make('upper', 'work', 'target');
    const lower = [...(await makeLayers(directory)), '/etc'];
    expect(() => mountOverlay({ lower, upper, work, target })).toThrow('mount overlay');
  });
});
