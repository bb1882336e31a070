import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readTextIfExists, writeFileAtomic } from './files.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-files-'));
});
afterEach(() => rm(directory, { recursive: true }));

test('a file is replaced as a whole, and nothing else is left', async () => {
  const path = join(directory, 'record.json');
  await writeFileAtomic(path, 'a long first content');
  await writeFileAtomic(path, Buffer.from('second'), { durable: true });
  expect(await readTextIfExists(path)).toBe('second');
  expect(await readdir(directory)).toEqual(['record.json']);
});

test('only the owner may read a file unless a mode says otherwise', async () => {
  await writeFileAtomic(join(directory, 'secret'), '');
  await writeFileAtomic(join(directory, 'public'), '', { mode: 0o644 });
  expect((await stat(join(directory, 'secret'))).mode & 0o777).toBe(0o600);
  expect((await stat(join(directory, 'public'))).mode & 0o777).toBe(0o644);
});

test('a write that fails leaves nothing behind', async () => {
  const occupied = join(directory, 'occupied');
  await mkdir(occupied);
  await writeFile(join(occupied, 'file'), 'kept');
  await expect(writeFileAtomic(occupied, 'x')).rejects.toMatchObject({ code: 'EISDIR' });
  expect(await readdir(directory)).toEqual(['occupied']);
  expect(await readFile(join(occupied, 'file'), 'utf8')).toBe('kept');
});

test('writes at the same time leave one of the contents', async () => {
  const path = join(directory, 'record.json');
  const contents = Array.from({ length: 20 }, (_, index) => String(index).repeat(1000));
  await Promise.all(contents.map((content) => writeFileAtomic(path, content)));
  expect(contents).toContain(await readTextIfExists(path));
  expect(await readdir(directory)).toEqual(['record.json']);
});

test('a file that is not there has no text', async () => {
  expect(await readTextIfExists(join(directory, 'nothing'))).toBeUndefined();
});
