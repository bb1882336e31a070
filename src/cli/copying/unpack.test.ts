import {
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type Header, pack } from 'tar-stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { moveInto } from './move.ts';
import { packTree } from './pack.ts';
import { unpackTree } from './unpack.ts';

let top: string;
let directory: string;

beforeEach(async () => {
  top = await mkdtemp(join(tmpdir(), 'keelson-unpack-'));
  directory = join(top, 'in');
  await mkdir(directory);
});
afterEach(() => rm(top, { recursive: true }));

type Entry = Partial<Header> & { name: string; content?: string };

function archive(entries: Entry[]): Readable {
  const packed = pack();
  for (const { content = '', ...header } of entries) packed.entry(header, content);
  packed.finalize();
  return Readable.from(packed, { objectMode: false });
}

async function unpack(entries: Entry[]): Promise<string[]> {
  const skipped: string[] = [];
  await unpackTree(archive(entries), directory, (name) => skipped.push(name));
  return skipped;
}

test.each(['../outside', 'a/../../outside', '/outside', '..'])(
  'refuses the name %s',
  async (name) => {
    await expect(unpack([{ name, content: 'evil' }])).rejects.toThrow('leads out');
    expect(await readdir(top)).toEqual(['in']);
  },
);

test('a link is not followed by what comes after it', async () => {
  await mkdir(join(top, 'victim'));
  const unpacking = unpack([
    { name: 'link', type: 'symlink', linkname: join(top, 'victim') },
    { name: 'link/file', content: 'evil' },
  ]);
  await expect(unpacking).rejects.toThrow('EEXIST');
  expect(await readdir(join(top, 'victim'))).toEqual([]);
});

test('a hard link leads to what was unpacked only', async () => {
  await writeFile(join(top, 'secret'), 'secret');
  await expect(unpack([{ name: 'link', type: 'link', linkname: '../secret' }])).rejects.toThrow(
    'leads out',
  );
  await unpack([
    { name: 'file', content: 'text' },
    { name: 'same', type: 'link', linkname: 'file' },
  ]);
  expect(await readFile(join(directory, 'same'), 'utf8')).toBe('text');
});

test('nothing is written twice, no device is made, no set-user-id bit is kept', async () => {
  await expect(
    unpack([
      { name: 'a', content: '1' },
      { name: 'a', content: '2' },
    ]),
  ).rejects.toThrow('EEXIST');
  expect(
    await unpack([
      { name: 'null', type: 'character-device', devmajor: 1, devminor: 3 },
      { name: 'pipe', type: 'fifo' },
      { name: 'program', mode: 0o4755, content: 'x' },
    ]),
  ).toEqual(['null', 'pipe']);
  expect((await lstat(join(directory, 'program'))).mode & 0o7777).toBe(0o755);
  expect(await readdir(directory)).toEqual(['a', 'program']);
});

test('an archive that is cut off is an error', async () => {
  const whole = await archive([{ name: 'a', content: 'x'.repeat(5000) }]).toArray();
  const cut = Readable.from([Buffer.concat(whole as Buffer[]).subarray(0, 2000)]);
  await expect(unpackTree(cut, directory, () => {})).rejects.toThrow();
});

test('what is packed comes out the same', async () => {
  const from = join(top, 'from');
  await mkdir(join(from, 'deep', 'empty'), { recursive: true });
  await writeFile(join(from, 'deep', 'file'), Buffer.alloc(200_000, 'x'), { mode: 0o640 });
  await writeFile(join(from, 'nothing'), '');
  await symlink('/etc/passwd', join(from, 'link'));
  await unpackTree(
    packTree(from, 'name', () => {}),
    directory,
    () => {},
  );
  expect(await readdir(directory, { recursive: true })).toEqual(
    expect.arrayContaining(['name/deep/empty', 'name/deep/file', 'name/nothing', 'name/link']),
  );
  expect(await readlink(join(directory, 'name/link'))).toBe('/etc/passwd');
  const { mode, size } = await lstat(join(directory, 'name/deep/file'));
  expect({ mode: mode & 0o777, size }).toEqual({ mode: 0o640, size: 200_000 });
});

test('moving joins directories, replaces files and follows no link', async () => {
  const to = join(top, 'to');
  await mkdir(join(directory, 'sub'));
  await writeFile(join(directory, 'sub', 'file'), 'new');
  await mkdir(join(to, 'sub'), { recursive: true });
  await writeFile(join(to, 'sub', 'file'), 'old');
  await writeFile(join(to, 'sub', 'other'), 'kept');
  await moveInto(directory, to);
  expect(await readFile(join(to, 'sub', 'file'), 'utf8')).toBe('new');
  expect((await readdir(join(to, 'sub'))).sort()).toEqual(['file', 'other']);
  await mkdir(join(directory, 'sub'), { recursive: true });
  await rm(join(to, 'sub'), { recursive: true });
  await symlink(top, join(to, 'sub'));
  await expect(moveInto(directory, to)).rejects.toThrow('it is a link');
});
