import {
  mkdir,
  mkdtemp,
  open,
  readFile,
  realpath,
  rm,
  statfs,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { hasSysResource } from '../../test/harness/index.ts';
import {
  addBindOptions,
  attachLoop,
  bindMount,
  detachLoop,
  growFileSystem,
  growUnmounted,
  holdLoop,
  listMounts,
  loopsOf,
  makeFileSystem,
  mountFileSystem,
  refreshLoopSize,
  thaw,
  unmount,
  unmountUnlessBusy,
  whileFrozen,
} from './index.ts';

let directory: string;
let image: string;
let target: string;

beforeEach(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), 'keelson-loop-')));
  image = join(directory, 'image');
  target = join(directory, 'target');
  await mkdir(target);
});

afterEach(async () => {
  unmount(target);
  for (const { path } of await loopsOf(image)) detachLoop(path);
  await rm(directory, { recursive: true });
});

async function makeImage(bytes: number): Promise<void> {
  await writeFile(image, '');
  await truncate(image, bytes);
}

const sizeAt = async () => {
  const { blocks, bsize } = await statfs(target);
  return blocks * bsize;
};

test.each(['ext4', 'xfs'] as const)(
  '%s is made in a file, mounted, grown, and gone',
  async (type) => {
    const bytes = type === 'xfs' ? 300 << 20 : 16 << 20;
    await makeImage(bytes);
    await makeFileSystem(type, image);
    {
      await using loop = await attachLoop(image, { autoclear: true });
      await mountFileSystem({ device: loop.path, target, type, options: ['noatime'] });
    }
    const [loop] = await loopsOf(image);
    const device = loop?.path ?? '';
    expect(listMounts().find((mount) => mount.target === target)?.options).toContain('noatime');
    const before = await sizeAt();
    await truncate(image, bytes * 2);
    refreshLoopSize(device);
    const grow = () => growFileSystem(type, { device, target });
    if (type === 'xfs' || hasSysResource()) {
      await grow();
      await grow();
      expect(await sizeAt()).toBeGreaterThan(before * 1.5);
    } else {
      await expect(grow()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    }
    // The kernel frees it with its last mount, which may be that of another mount namespace.
    const autoclear = await readFile(`/sys/block/${basename(device)}/loop/autoclear`, 'utf8');
    expect(autoclear.trim()).toBe('1');
    await unmountUnlessBusy(target);
    expect(listMounts().filter((mount) => mount.target === target)).toEqual([]);
  },
);

test('ext4 grows where it is not mounted, and only if there is something to grow', async () => {
  await makeImage(16 << 20);
  await makeFileSystem('ext4', image);
  await truncate(image, 32 << 20);
  const lock = join(directory, 'lock');
  await writeFile(lock, '');
  await growUnmounted(image, { lock });
  await growUnmounted(image, { lock });
  await using loop = await attachLoop(image, { autoclear: true });
  await mountFileSystem({ device: loop.path, target, type: 'ext4', options: [] });
  expect(await sizeAt()).toBeGreaterThan(24 << 20);
  await unmountUnlessBusy(target);
});

test('a device that is mounted somewhere is found, and can be mounted once more', async () => {
  await makeImage(16 << 20);
  await makeFileSystem('ext4', image);
  expect(await holdLoop(image)).toBeUndefined();
  const other = join(directory, 'other');
  await mkdir(other);
  {
    await using loop = await attachLoop(image, { autoclear: true });
    await mountFileSystem({ device: loop.path, target, type: 'ext4', options: [] });
  }
  {
    await using loop = await holdLoop(image);
    await mountFileSystem({ device: loop?.path ?? '', target: other, type: 'ext4', options: [] });
  }
  await writeFile(join(target, 'file'), 'shared');
  expect(await readFile(join(other, 'file'), 'utf8')).toBe('shared');
  expect((await loopsOf(image)).length).toBe(1);
  await unmountUnlessBusy(other);
});

test('a device that nobody mounted is gone when it is closed', async () => {
  await makeImage(1 << 20);
  {
    await using loop = await attachLoop(image, { autoclear: true });
    expect(await loopsOf(image)).toEqual([{ path: loop.path, readonly: false }]);
  }
  await expect.poll(() => loopsOf(image), { timeout: 10_000 }).toEqual([]);
});

test('a device may be for reading only, and lasts until it is detached', async () => {
  await makeImage(1 << 20);
  await (await attachLoop(image, { readonly: true }))[Symbol.asyncDispose]();
  const [loop] = await loopsOf(image);
  expect(loop).toMatchObject({ readonly: true });
  const write = writeFile(loop?.path ?? '', 'x', { flag: 'r+', flush: true });
  await expect(write).rejects.toThrow(/EACCES|EROFS|EPERM/);
  detachLoop(loop?.path ?? '');
  await expect.poll(() => loopsOf(image), { timeout: 10_000 }).toEqual([]);
});

test('a frozen file system cannot be changed; one that is not frozen is thawed all the same', async () => {
  await makeImage(16 << 20);
  await makeFileSystem('ext4', image);
  {
    await using loop = await attachLoop(image, { autoclear: true });
    await mountFileSystem({ device: loop.path, target, type: 'ext4', options: [] });
  }
  let written = false;
  let write: Promise<void> | undefined;
  await whileFrozen(target, async () => {
    write = writeFile(join(target, 'file'), 'x').then(() => {
      written = true;
    });
    await sizeAt();
    expect(written).toBe(false);
  });
  await write;
  await thaw(target);
});

test('a busy mount is reported, not detached', async () => {
  await makeImage(16 << 20);
  await makeFileSystem('ext4', image);
  {
    await using loop = await attachLoop(image, { autoclear: true });
    await mountFileSystem({ device: loop.path, target, type: 'ext4', options: [] });
  }
  {
    await using _file = await open(join(target, 'file'), 'w');
    await expect(unmountUnlessBusy(target)).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
  }
  await unmountUnlessBusy(target);
  await unmountUnlessBusy(target);
});

test('what a program says is told', async () => {
  await makeImage(4096);
  await expect(makeFileSystem('xfs', image)).rejects.toMatchObject({ code: 'INTERNAL' });
});

test('options of a bind mount are added to those it has', async () => {
  const source = join(directory, 'source');
  await mkdir(source);
  bindMount(source, target);
  addBindOptions(target, ['nosuid', 'rw']);
  addBindOptions(target, ['ro']);
  const options = listMounts().find((mount) => mount.target === target)?.options;
  expect(options).toEqual(expect.arrayContaining(['ro', 'nosuid']));
  expect(() => addBindOptions(target, ['data=journal'])).toThrow(/"data=journal"/);
});
