import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findProgram } from './find-program.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'keelson-path-'));
  for (const name of ['a', 'b']) {
    await mkdir(join(root, name));
    await writeFile(join(root, name, 'tool'), '');
  }
  await chmod(join(root, 'b/tool'), 0o755);
  await mkdir(join(root, 'a/folder'));
});
afterEach(() => rm(root, { recursive: true }));

test('a name is looked up in each directory for a file that can be executed', () => {
  const path = `:relative:${root}/a:${root}/nothing:${root}/b`;
  expect(findProgram('tool', path)).toBe(join(root, 'b/tool'));
});

test('an absolute path is taken as it is', () => {
  expect(findProgram(join(root, 'b/tool'), '')).toBe(join(root, 'b/tool'));
});

test.each(['missing', 'folder', ''])('%j is no program', (name) => {
  expect(findProgram(name, `${root}/a:${root}`)).toBeUndefined();
});

test('a file that cannot be executed is no program', () => {
  expect(findProgram(join(root, 'a/tool'))).toBeUndefined();
});
