import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { tar } from '../fixtures/tar.ts';
import { CORPUS } from './corpus.ts';
import { describeTree, unpackStack, withOverlay } from './layer-fixture.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'keelson-corpus-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

test.each(CORPUS)('$name', async ({ layers, expected }) => {
  const accounts = new Map<string, { bytes: number; inodes: number }>();
  const archives = layers.map((entries) => tar(entries));
  const work = unpackStack(archives, root, { accounts });
  if (expected['error'] instanceof RegExp) {
    await expect(work).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(expected['error']),
    });
  } else {
    expect(await withOverlay(await work, root, describeTree)).toEqual(expected);
    for (const [directory, account] of accounts) expect(account).toEqual(spaceOf(directory));
  }
  const beside = readdirSync(root).filter(
    (name) => !/^(layer\d(\.blob)?|merged|empty)$/.test(name),
  );
  expect(beside).toEqual([]);
});

function spaceOf(directory: string): { bytes: number; inodes: number } {
  const measure = (flag: string) =>
    Number(execFileSync('du', ['-s', flag, directory], { encoding: 'utf8' }).split('\t')[0]);
  return { bytes: measure('-B1'), inodes: measure('--inodes') };
}
