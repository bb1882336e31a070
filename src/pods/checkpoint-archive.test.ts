import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NEVER } from '../base/index.ts';
import { mountOverlay, run, unmountAll } from '../linux/index.ts';
import { checkImages, packFiles, parseDescription } from './checkpoint-archive.ts';
import { overlayChanges } from './overlay-changes.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-checkpoint-'));
});
afterEach(async () => {
  unmountAll(join(directory, 'merged'));
  await rm(directory, { recursive: true, force: true });
});

test('what a description lacks, or has of another type, is empty', () => {
  const description = parseDescription('{"name":"web","id":7,"rootfsImageRef":"a@b"}', 'x');
  expect(description).toMatchObject({ name: 'web', id: '', rootfsImageRef: 'a@b', runtime: '' });
});

test.each(['', 'x', 'null', '7'])('a description that is %j is refused', (content) => {
  expect(() => parseDescription(content, 'x')).toThrow('Cannot use checkpoint "x"');
});

test('images that are links are refused', async () => {
  await writeFile(join(directory, 'core-1.img'), '');
  await checkImages(directory);
  await symlink('/etc/passwd', join(directory, 'core-2.img'));
  await expect(checkImages(directory)).rejects.toThrow('core-2.img');
});

test('changes are packed; what was deleted is listed, also in what was made anew', async () => {
  const [lower, upper, work, target] = ['lower', 'upper', 'work', 'merged'].map((name) =>
    join(directory, name),
  ) as [string, string, string, string];
  for (const path of ['lower/kept', 'lower/gone', 'lower/anew/deep', 'upper', 'work', 'merged']) {
    await mkdir(join(directory, path), { recursive: true });
  }
  for (const path of ['kept/a', 'kept/b', 'gone/c', 'anew/d', 'anew/e', 'anew/deep/f']) {
    await writeFile(join(lower, path), path);
  }
  mountOverlay({ lower: [lower], upper, work, target });
  await rm(join(target, 'kept/b'));
  await rm(join(target, 'gone'), { recursive: true });
  await rm(join(target, 'anew'), { recursive: true });
  await mkdir(join(target, 'anew'));
  await writeFile(join(target, 'anew/d'), 'again');
  unmountAll(target);

  const { made, deleted } = await overlayChanges(upper, [lower]);
  expect(deleted.sort()).toEqual(['anew/deep', 'anew/e', 'gone', 'kept/b']);
  const archive = join(directory, 'changes.tar');
  await packFiles(upper, made, archive, NEVER);
  const listed = (await run('tar', ['-tf', archive])).stdout.toString().trim().split('\n');
  expect(listed).toHaveLength(made.length);
  expect(listed.sort()).toEqual(['././', './anew/', './anew/d', './kept/']);
  expect(await readFile(join(upper, 'anew/d'), 'utf8')).toBe('again');
});

test('an archive that does not fit is told as such', async () => {
  await mkdir(join(directory, 'merged'));
  await writeFile(join(directory, 'big'), Buffer.alloc(1 << 20, 1));
  await run('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'small', join(directory, 'merged')]);
  const packing = packFiles(directory, ['big'], join(directory, 'merged/x.tar'), NEVER);
  await expect(packing).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
});
