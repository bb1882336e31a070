import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockState } from './daemon-lock.ts';
import { identifyProcess } from './linux/index.ts';

let directory: string;
let claim: string;
beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'keelson-lock-')), 'state');
  claim = join(directory, 'daemon.json');
});
afterEach(() => rm(join(directory, '..'), { recursive: true }));

test('a claim names this process, and goes with it', async () => {
  {
    await using _lock = await lockState(directory);
    const owner = JSON.parse(await readFile(claim, 'utf8'));
    expect(owner).toEqual(identifyProcess(process.pid));
  }
  expect(existsSync(claim)).toBe(false);
});

test('a directory that another daemon uses is refused, and its claim stays', async () => {
  await (await lockState(directory))[Symbol.asyncDispose]();
  const other = JSON.stringify(identifyProcess(process.ppid));
  await writeFile(claim, other);
  await expect(lockState(directory)).rejects.toMatchObject({
    code: 'ALREADY_EXISTS',
    message: expect.stringContaining(`a daemon runs there as process ${process.ppid}`),
  });
  expect(await readFile(claim, 'utf8')).toBe(other);
});

test.each([
  ['of a process that is gone', JSON.stringify({ pid: 2 ** 22 + 1, startTime: 1 })],
  ['of an earlier process with a number in use', JSON.stringify({ pid: 1, startTime: -1 })],
  ['that was cut short', '{"pid":'],
  ['that is empty', ''],
  ['that is no claim', 'null'],
])('a claim %s counts for nothing', async (_what, text) => {
  await (await lockState(directory))[Symbol.asyncDispose]();
  await writeFile(claim, text);
  await using _lock = await lockState(directory);
  expect(JSON.parse(await readFile(claim, 'utf8'))).toMatchObject({ pid: process.pid });
});
