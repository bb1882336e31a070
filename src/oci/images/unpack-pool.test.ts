import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { afterEach, expect, test } from 'vitest';
import { UnpackPool } from './unpack-pool.ts';

/** How the workers of this test ended: a worker that is terminated has 1. */
const ended: number[] = [];
const onWorker = (worker: Worker) => worker.once('exit', (code) => ended.push(code));
process.on('worker', onWorker);

afterEach(() => {
  ended.length = 0;
});

test('workers that are still starting when their pool is closed end by themselves', async () => {
  const pool = new UnpackPool({ size: 2 });
  pool.warm(2);
  await pool[Symbol.asyncDispose]();
  expect(ended).toEqual([0, 0]);
});

test('what a worker is doing when its pool is closed is done first', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-pool-'));
  try {
    const path = join(directory, 'file');
    await writeFile(path, 'content');
    const pool = new UnpackPool({ size: 1 });
    const hashed = pool.perform('hash', { path, offset: 0, size: 7, algorithm: 'sha256' });
    await Promise.resolve();
    await pool[Symbol.asyncDispose]();
    expect(await hashed).toMatch(
      /ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73$/,
    );
    expect(ended).toEqual([0]);
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('a worker that has nothing to do for a while ends, and another one takes its place', async () => {
  await using pool = new UnpackPool({ size: 1, idle: 10 });
  const nothing = { path: join(tmpdir(), 'keelson-no-such-file') };
  await pool.perform('remove', nothing);
  await expect.poll(() => ended).toEqual([0]);
  await pool.perform('remove', nothing);
});
