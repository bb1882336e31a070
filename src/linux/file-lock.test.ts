import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NEVER } from '../base/index.ts';
import { lockFile } from './file-lock.ts';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-lock-'));
  path = join(directory, 'lock');
});

afterEach(() => rm(directory, { recursive: true }));

function isFree(kind: 'shared' | 'exclusive'): Promise<boolean> {
  return lockFile(path, kind, AbortSignal.timeout(10)).then(
    async (lock) => {
      await lock[Symbol.asyncDispose]();
      return true;
    },
    () => false,
  );
}

test('a shared lock keeps out an exclusive one only', async () => {
  await using _ = await lockFile(path, 'shared', NEVER);
  expect(await isFree('shared')).toBe(true);
  expect(await isFree('exclusive')).toBe(false);
});

test('an exclusive lock keeps out all, until it ends', async () => {
  {
    await using _ = await lockFile(path, 'exclusive', NEVER);
    expect(await isFree('shared')).toBe(false);
    expect(await isFree('exclusive')).toBe(false);
  }
  expect(await isFree('exclusive')).toBe(true);
});

test('who waits gets the lock when it ends', async () => {
  const held = await lockFile(path, 'exclusive', NEVER);
  const waiting = lockFile(path, 'exclusive', NEVER);
  await held[Symbol.asyncDispose]();
  await (await waiting)[Symbol.asyncDispose]();
});

test('a file that cannot be made is an error', async () => {
  await expect(lockFile(join(directory, 'no/lock'), 'shared', NEVER)).rejects.toThrow('ENOENT');
});
