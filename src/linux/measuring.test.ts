import { closeSync, openSync } from 'node:fs';
import { link, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { descriptorUsage, openFilesLimit } from './descriptor-usage.ts';
import { directoryUsage } from './directory-usage.ts';
import { Measuring } from './measuring.ts';

const measuring = new Measuring();
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'measuring-'));
});
afterAll(async () => {
  await measuring[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

test('a directory has its blocks and inodes: a file with two names once, and no link followed', async () => {
  const root = join(directory, 'small');
  await mkdir(join(root, 'sub'), { recursive: true });
  await writeFile(join(root, 'sub/file'), Buffer.alloc(1 << 20, 1));
  const empty = (await measuring.directory(join(directory, 'small')))!;
  await link(join(root, 'sub/file'), join(root, 'again'));
  await symlink('/usr', join(root, 'link'));
  const usage = (await measuring.directory(root))!;
  expect(empty.inodes).toBe(3);
  expect(usage.inodes).toBe(4);
  expect(usage.bytes - empty.bytes).toBeLessThan(1 << 20);
  expect(usage.bytes).toBeGreaterThanOrEqual(1 << 20);
  expect(await measuring.directory(join(directory, 'none'))).toBeUndefined();
});

test('a name that is no text counts', async () => {
  const root = join(directory, 'odd');
  await mkdir(root);
  await writeFile(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0xfe])]), '');
  expect((await measuring.directory(root))?.inodes).toBe(2);
});

test('what has many files is measured by a worker, several at a time, with the same result', async () => {
  const root = join(directory, 'large');
  await mkdir(root);
  await Promise.all(Array.from({ length: 700 }, (_, n) => writeFile(join(root, `${n}`), '')));
  const [first, second, here] = await Promise.all([
    measuring.directory(root),
    measuring.directory(root),
    directoryUsage(root),
  ]);
  expect(first?.inodes).toBe(701);
  expect(first).toEqual(here);
  expect(second).toEqual(here);
});

test('open files and sockets of processes are counted; one that is gone has none', async () => {
  const before = (await descriptorUsage([process.pid]))!;
  const server = createServer().listen(join(directory, 'socket'));
  const fds = Array.from({ length: 600 }, () => openSync('/dev/null', 'r'));
  try {
    const after = await measuring.descriptors([process.pid, 2 ** 22 + 1]);
    expect(after.sockets - before.sockets).toBe(1);
    expect(after.files - before.files).toBeGreaterThanOrEqual(601);
  } finally {
    for (const fd of fds) closeSync(fd);
    server.close();
  }
  expect(await openFilesLimit(process.pid)).toBeGreaterThan(0);
  expect(await openFilesLimit(2 ** 22 + 1)).toBeUndefined();
});
