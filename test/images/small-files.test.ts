import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NEVER } from '../../src/base/index.ts';
import { unmount } from '../../src/linux/index.ts';
import { SharedProgress } from '../../src/oci/images/shared-progress.ts';
import { UnpackPool } from '../../src/oci/images/unpack-pool.ts';
import { digestOf } from '../fixtures/image.ts';
import { type TarFixtureEntry, tar } from '../fixtures/tar.ts';
import { describeTree, unpackArchive } from './layer-fixture.ts';

// Layers that are large enough for a second worker to write a part of their files.

const DIRECTORIES = 20;
const FILES = 4000;

function entries(): TarFixtureEntry[] {
  const all: TarFixtureEntry[] = [];
  for (let n = 0; n < DIRECTORIES; n++) all.push({ path: `d${n}/`, type: 'directory' });
  for (let n = 0; n < FILES; n++) {
    const path = `d${n % DIRECTORIES}/file-${n}-\xe9`;
    const content = Buffer.alloc((n * 7919) % 3000, `content of ${n}`);
    const attributes = { mode: n % 7 === 0 ? 0o4755 : 0o640, uid: n % 3, gid: n % 5 };
    all.push({ path, content, ...attributes });
    // What was only noted is linked to, replaced, or gone with its directory.
    if (n % 500 === 1) all.push({ path: `link-${n}`, type: 'link', target: path });
    if (n % 500 === 2) all.push({ path, content: `another content of ${n}` });
    if (n % 500 === 3) all.push({ path, type: 'symlink', target: 'nowhere' });
    if (n === 3001) all.push({ path: 'd1', type: 'file', content: 'no directory any more' });
    if (n === 3001) all.push({ path: 'd1/', type: 'directory' });
  }
  return all;
}

let root: string;
let pool: UnpackPool;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'keelson-small-'));
  pool = new UnpackPool({ size: 2 });
});
afterEach(async () => {
  await pool[Symbol.asyncDispose]();
  rmSync(root, { recursive: true, force: true });
});

/** Begins to unpack an archive of which the first `available` bytes are there. */
function unpack(archive: Buffer, directory: string, available: number, signal = NEVER) {
  const blob = join(root, 'blob');
  writeFileSync(blob, archive);
  const progress = new SharedProgress();
  progress.advance(available);
  const work = pool.unpack(
    {
      blob,
      size: archive.length,
      digest: digestOf(archive),
      diffId: digestOf(archive),
      file: undefined,
      directory,
      limits: { bytes: 1e9, entries: 1e6 },
      refuseDevices: false,
    },
    progress,
    signal,
  );
  return { work, progress };
}

test('two workers make the same of a layer as one', async () => {
  const archive = tar(entries());
  const alone = await unpackArchive(archive, join(root, 'alone'));
  const together = await unpack(archive, join(root, 'together'), archive.length).work;
  expect(describeTree(join(root, 'together'))).toEqual(describeTree(join(root, 'alone')));
  expect(together).toEqual(alone);
});

test('a worker makes files while the one that unpacks waits for more of the layer', async () => {
  const files = Array.from({ length: FILES }, (_, n) => {
    return { path: `file-${n}`, content: Buffer.alloc(2000, `content of ${n}`) };
  });
  const archive = tar(files);
  const directory = join(root, 'layer');
  const { work, progress } = unpack(archive, directory, archive.length >> 1);
  // Alone it would keep three to four times a slot of 125 files noted, this way a part of one.
  const made = () => (readdirSync(root).includes('layer') ? readdirSync(directory).length : 0);
  while (made() < FILES / 2 - 150) await sleep(5);
  progress.advance(archive.length);
  await work;
  expect(made()).toBe(FILES);
});

test('a file that cannot be made fails the layer, and is named', async () => {
  const full = join(root, 'full');
  mkdirSync(full);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4M', 'tmpfs', full]);
  try {
    const archive = tar(entries());
    await expect(unpack(archive, join(full, 'layer'), archive.length).work).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      message: expect.stringMatching(/^Cannot unpack entry "d\d+\/file-.*the disk is full/),
    });
  } finally {
    unmount(full);
  }
});

test('a worker that helps makes room for other work, and comes back', async () => {
  const archive = tar(entries());
  const { work, progress } = unpack(archive, join(root, 'layer'), archive.length >> 1);
  const file = { path: join(root, 'blob'), offset: 0, size: archive.length } as const;
  for (let round = 0; round < 3; round++) {
    expect(await pool.perform('hash', { ...file, algorithm: 'sha256' })).toBe(digestOf(archive));
  }
  progress.advance(archive.length);
  expect((await work).inodes).toBeGreaterThan(FILES / 2);
});

test('a layer that is given up is left alone from then on', async () => {
  const archive = tar(entries());
  const stop = new AbortController();
  const directory = join(root, 'layer');
  const { work } = unpack(archive, directory, archive.length >> 1, stop.signal);
  while (readdirSync(root).length < 2) await sleep(5);
  stop.abort(new Error('not wanted any more'));
  await expect(work).rejects.toMatchObject({ code: 'CANCELLED' });
  rmSync(directory, { recursive: true });
  await sleep(50);
  expect(readdirSync(root)).toEqual(['blob']);
});
