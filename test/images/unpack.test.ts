import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { KeelsonError } from '../../src/base/index.ts';
import { getXattr, splitDeviceNumber } from '../../src/linux/index.ts';
import { GUNZIPS } from '../../src/oci/images/decompress.ts';
import {
  checksummed,
  entryBlocks,
  header,
  padded,
  paxBlocks,
  type TarFixtureEntry,
  tar,
} from '../fixtures/tar.ts';
import {
  describeTree,
  type UnpackTestOptions,
  unpackArchive,
  unpackStack,
} from './layer-fixture.ts';

let root: string;
let layer: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'keelson-unpack-'));
  layer = join(root, 'layer');
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

const unpack = (entries: TarFixtureEntry[], options?: UnpackTestOptions) =>
  unpackArchive(tar(entries), layer, options);
const at = (path: string) => join(layer, path);
const END = Buffer.alloc(1024);

async function failure(work: Promise<unknown>): Promise<KeelsonError> {
  return work.then(
    () => expect.fail('it should have failed'),
    (error: KeelsonError) => error,
  );
}

describe('files', () => {
  test('keep content, owner, mode with set-uid, and time to the nanosecond', async () => {
    await unpack([
      { path: 'a', content: 'hello', mode: 0o4755, uid: 12, gid: 34, mtime: 1234567890 },
      { path: 'b', mode: 0o2640, mtime: 1234567890.25 },
      { path: 'old', pax: { mtime: '-1.5' } },
      { path: 'exact', pax: { mtime: '1700000000.123456789' } },
    ]);
    const a = statSync(at('a'));
    expect(readFileSync(at('a'), 'utf8')).toBe('hello');
    expect([a.mode & 0o7777, a.uid, a.gid, a.mtimeMs]).toEqual([0o4755, 12, 34, 1234567890000]);
    expect(statSync(at('b')).mode & 0o7777).toBe(0o2640);
    expect(statSync(at('b')).mtimeMs).toBe(1234567890250);
    expect(statSync(at('old')).mtimeMs).toBe(-1500);
    expect(statSync(at('exact'), { bigint: true }).mtimeNs).toBe(1700000000123456789n);
  });

  test('directories keep their time and mode although files are put into them later', async () => {
    await unpack([
      { path: 'd/', type: 'directory', mode: 0o1770, uid: 5, gid: 6, mtime: 1000 },
      { path: 'd/e/', type: 'directory', mode: 0o555, mtime: 2000 },
      { path: 'd/e/f', content: 'x' },
    ]);
    const d = statSync(at('d'));
    expect([d.mode & 0o7777, d.uid, d.gid, d.mtimeMs]).toEqual([0o1770, 5, 6, 1_000_000]);
    expect([statSync(at('d/e')).mode & 0o7777, statSync(at('d/e')).mtimeMs]).toEqual([
      0o555, 2_000_000,
    ]);
  });

  test('a set-group-id directory does not give its group to what is unpacked into it', async () => {
    await unpack([
      { path: 'd/', type: 'directory', mode: 0o2755, gid: 50 },
      { path: 'd/f', gid: 0 },
      { path: 'd/e/', type: 'directory', gid: 0 },
    ]);
    expect([statSync(at('d/f')).gid, statSync(at('d/e')).gid]).toEqual([0, 0]);
    expect(statSync(at('d/e')).mode & 0o7777).toBe(0o755);
  });

  test('hard links share an inode, also of links', async () => {
    const { inodes } = await unpack([
      { path: 'a', content: 'x' },
      { path: 'd/b', type: 'link', target: './a' },
      { path: 'l', type: 'symlink', target: 'nowhere' },
      { path: 'm', type: 'link', target: 'l' },
    ]);
    expect(statSync(at('d/b')).ino).toBe(statSync(at('a')).ino);
    expect(lstatSync(at('m')).ino).toBe(lstatSync(at('l')).ino);
    expect(inodes).toBe(4);
  });

  test('symbolic links keep their target as it is, their owner and time', async () => {
    await unpack([{ path: 'l', type: 'symlink', target: '../../etc/passwd', uid: 7, mtime: 3 }]);
    expect(readlinkSync(at('l'))).toBe('../../etc/passwd');
    expect([lstatSync(at('l')).uid, lstatSync(at('l')).mtimeMs]).toEqual([7, 3000]);
  });

  test('device nodes and FIFOs', async () => {
    await unpack([
      { path: 'null', type: 'character', major: 1, minor: 3, mode: 0o666 },
      { path: 'disk', type: 'block', major: 259, minor: 300, mode: 0o660, gid: 6 },
      { path: 'pipe', type: 'fifo', mode: 0o622 },
    ]);
    expect(splitDeviceNumber(statSync(at('null')).rdev)).toEqual({ major: 1, minor: 3 });
    expect(statSync(at('null')).mode & 0o7777).toBe(0o666);
    expect(splitDeviceNumber(statSync(at('disk')).rdev)).toEqual({ major: 259, minor: 300 });
    expect(statSync(at('disk')).isBlockDevice()).toBe(true);
    expect(statSync(at('pipe')).isFIFO()).toBe(true);
    expect(statSync(at('pipe')).mode & 0o7777).toBe(0o622);
  });

  test('extended attributes, file capabilities after the owner', async () => {
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
    await unpack([
      {
        path: 'ping',
        uid: 1,
        xattrs: { 'security.capability': capability, 'user.note': 'x=y\nz' },
      },
      { path: 'd', type: 'directory', xattrs: { 'user.dir': '1' } },
      { path: 'l', type: 'symlink', target: 'x', xattrs: { 'user.not-on-links': '1' } },
    ]);
    expect(getXattr(at('ping'), 'security.capability')).toEqual(capability);
    expect(getXattr(at('ping'), 'user.note').toString()).toBe('x=y\nz');
    expect(getXattr(at('d'), 'user.dir').toString()).toBe('1');
  });

  test('names that are not UTF-8, and long names', async () => {
    const bytes = Buffer.from([0x66, 0xff, 0xfe]);
    const long = `${'d'.repeat(200)}/${'e'.repeat(200)}/f`;
    await unpack([
      { path: bytes, content: 'latin' },
      { path: long, content: 'long' },
      { path: 'l', type: 'symlink', target: 't'.repeat(300) },
      { path: 'ümläut', content: 'utf8' },
    ]);
    expect(readFileSync(Buffer.concat([Buffer.from(`${layer}/`), bytes]), 'utf8')).toBe('latin');
    expect(readFileSync(at(long), 'utf8')).toBe('long');
    expect(readlinkSync(at('l'))).toBe('t'.repeat(300));
    expect(readFileSync(at('ümläut'), 'utf8')).toBe('utf8');
  });

  test('a later entry replaces an earlier one of another type', async () => {
    await unpack([
      { path: 'a', content: 'file' },
      { path: 'a/', type: 'directory' },
      { path: 'a/x', content: 'x' },
      { path: 'b/', type: 'directory' },
      { path: 'b/y', content: 'y' },
      { path: 'b', content: 'now a file' },
      { path: 'c', type: 'symlink', target: 'b' },
      { path: 'c', content: 'not through the link' },
    ]);
    expect(readFileSync(at('a/x'), 'utf8')).toBe('x');
    expect(readFileSync(at('b'), 'utf8')).toBe('now a file');
    expect(readFileSync(at('c'), 'utf8')).toBe('not through the link');
    expect(getXattr(at('a'), 'trusted.overlay.opaque').toString()).toBe('y');
  });

  test('the entry of the root directory is told, not only applied', async () => {
    const { rootAttributes } = await unpack([
      { path: './', type: 'directory', mode: 0o750, uid: 3, gid: 4 },
    ]);
    expect(rootAttributes).toEqual({ mode: 0o750, uid: 3, gid: 4 });
    expect(statSync(layer).mode & 0o7777).toBe(0o750);
  });

  test('the space is accounted as the file system does', async () => {
    const { bytes, inodes } = await unpack([
      { path: 'd/', type: 'directory' },
      { path: 'd/a', content: Buffer.alloc(10_000, 1) },
      { path: 'd/b', content: Buffer.alloc(4096, 1) },
      { path: 'd/c', type: 'link', target: 'd/a' },
      { path: 'l', type: 'symlink', target: 'd' },
    ]);
    const [measured] = execFileSync('du', ['-s', '-B1', layer], { encoding: 'utf8' }).split('\t');
    expect(bytes).toBe(Number(measured));
    expect(inodes).toBe(5);
  });

  test('what later entries replace is accounted no more', async () => {
    const { bytes, inodes } = await unpack([
      ...Array.from({ length: 1000 }, (_, index) => ({ path: 'same', content: `${index}` })),
      { path: 'd/e/a', content: Buffer.alloc(10_000, 1) },
      { path: 'd/e/b', content: Buffer.alloc(10_000, 1) },
      { path: 'kept', type: 'link', target: 'd/e/a' },
      { path: 'd/e/c', type: 'link', target: 'd/e/b' },
      { path: 'd/l', type: 'symlink', target: 'x' },
      { path: 'd/h', type: 'link', target: 'only-below' },
      { path: 'd/.wh.w' },
      { path: 'd', content: 'a file now' },
    ]);
    const [measured] = execFileSync('du', ['-s', '-B1', layer], { encoding: 'utf8' }).split('\t');
    expect(bytes).toBe(Number(measured));
    expect([inodes, readFileSync(at('same'), 'utf8')]).toEqual([4, '999']);
  });
});

describe('whiteouts', () => {
  test('become what overlayfs understands', async () => {
    const written = await unpack([
      { path: 'd/', type: 'directory' },
      { path: 'd/.wh.gone' },
      { path: 'o/', type: 'directory' },
      { path: 'o/new' },
      { path: 'o/.wh..wh..opq' },
      { path: '.wh..wh.plnk/', type: 'directory' },
      { path: '.wh..wh.plnk/1.2' },
    ]);
    const gone = lstatSync(at('d/gone'));
    expect([gone.isCharacterDevice(), gone.rdev]).toEqual([true, 0]);
    expect(getXattr(at('o'), 'trusted.overlay.opaque').toString()).toBe('y');
    expect(readdirSync(layer).sort()).toEqual(['d', 'o']);
    expect(written.whiteouts).toEqual(['d/gone']);
  });

  test('of a name that the layer has itself concern the lower layers only', async () => {
    await unpack([
      { path: '.wh.a' },
      { path: 'a', content: 'new' },
      { path: 'b/', type: 'directory' },
      { path: 'b/x' },
      { path: '.wh.b' },
    ]);
    expect(readFileSync(at('a'), 'utf8')).toBe('new');
    expect(existsSync(at('b/x'))).toBe(true);
    expect(getXattr(at('b'), 'trusted.overlay.opaque').toString()).toBe('y');
  });

  test('at the root hide all that is below', async () => {
    expect((await unpack([{ path: '.wh..wh..opq' }])).opaqueRoot).toBe(true);
  });

  test.each(['.wh.', '.wh..', '.wh...', 'd/.wh.'])('"%s" is refused', async (path) => {
    const error = await failure(unpack([{ path }]));
    expect([error.code, error.message]).toEqual([
      'INVALID_ARGUMENT',
      `Cannot unpack entry ${JSON.stringify(path)}: it is a whiteout without a name`,
    ]);
  });
});

describe('what a layer takes for granted below', () => {
  test('directories without an entry look as they do below', async () => {
    const [, top] = await unpackStack(
      [
        tar([
          {
            path: 'tmp/',
            type: 'directory',
            mode: 0o1777,
            gid: 9,
            mtime: 77,
            xattrs: { 'user.x': '1' },
          },
        ]),
        tar([{ path: 'tmp/a/b' }]),
      ],
      root,
    );
    const tmp = statSync(join(top!, 'tmp'));
    expect([tmp.mode & 0o7777, tmp.gid, tmp.mtimeMs]).toEqual([0o1777, 9, 77_000]);
    expect(getXattr(join(top!, 'tmp'), 'user.x').toString()).toBe('1');
    expect(statSync(join(top!, 'tmp/a')).mode & 0o7777).toBe(0o755);
  });

  test('entries go where a link of a lower layer leads, as on a merged-usr system', async () => {
    const [, top] = await unpackStack(
      [
        tar([
          { path: 'usr/bin/', type: 'directory', mode: 0o711, mtime: 5 },
          { path: 'bin', type: 'symlink', target: 'usr/bin' },
        ]),
        tar([{ path: 'bin/tool', content: 'tool', mode: 0o755 }]),
      ],
      root,
    );
    expect(describeTree(top!)).toEqual({
      usr: 'directory 755 0:0',
      'usr/bin': 'directory 711 0:0',
      'usr/bin/tool': 'file 755 0:0 tool',
    });
    expect(statSync(join(top!, 'usr/bin')).mtimeMs).toBe(5000);
  });

  test('hard links to files of lower layers become copies with all that belongs to them', async () => {
    const [, top] = await unpackStack(
      [
        tar([
          { path: 'a', content: 'data', mode: 0o4711, uid: 8, mtime: 9, xattrs: { 'user.x': '1' } },
        ]),
        tar([
          { path: 'd/', type: 'directory', mtime: 11 },
          { path: 'd/b', type: 'link', target: 'a' },
          { path: 'd/c', type: 'link', target: '/a' },
        ]),
      ],
      root,
    );
    const b = statSync(join(top!, 'd/b'));
    expect([readFileSync(join(top!, 'd/b'), 'utf8'), b.mode & 0o7777, b.uid, b.mtimeMs]).toEqual([
      'data',
      0o4711,
      8,
      9000,
    ]);
    expect(getXattr(join(top!, 'd/b'), 'user.x').toString()).toBe('1');
    expect(statSync(join(top!, 'd/c')).ino).toBe(b.ino);
    expect(statSync(join(top!, 'd')).mtimeMs).toBe(11_000);
  });

  test('a hard link to nothing is refused by name', async () => {
    const error = await failure(
      unpackStack([tar([]), tar([{ path: 'b', type: 'link', target: 'a' }])], root),
    );
    expect(error.message).toBe('Cannot unpack entry "b": its target "a" is not a file');
  });
});

describe('hostile layers', () => {
  /** What makes a file a sparse one of 4 MB, whose map its content begins with. */
  const sparse = (name: string) => ({
    'GNU.sparse.major': '1',
    'GNU.sparse.minor': '0',
    'GNU.sparse.realsize': '4000000',
    'GNU.sparse.name': name,
  });
  const secret = () => join(root, 'secret');
  beforeEach(() => writeFileSync(secret(), 'untouched'));
  afterEach(() => {
    expect(readFileSync(secret(), 'utf8')).toBe('untouched');
    expect(readdirSync(root).filter((name) => name !== 'layer' && name !== 'layer.blob')).toEqual([
      'secret',
    ]);
  });

  test.each(['../secret', 'a/../../secret', '/../secret', 'a/b/../../../secret'])(
    '"%s" leads out and is refused by name',
    async (path) => {
      const error = await failure(unpack([{ path, content: 'evil' }]));
      expect(error.code).toBe('INVALID_ARGUMENT');
      expect(error.message).toBe(`Cannot unpack entry "${path}": it leads out of the layer`);
    },
  );

  test('links that lead out lead nowhere', async () => {
    await unpack([
      { path: 'up', type: 'symlink', target: '..' },
      { path: 'up/secret', content: 'evil' },
      { path: 'abs', type: 'symlink', target: root },
      { path: 'abs/secret', content: 'evil' },
      { path: 'x', type: 'symlink', target: 'y' },
      { path: 'y', type: 'symlink', target: '../../..' },
      { path: 'x/deep', content: 'evil' },
    ]);
    expect(readFileSync(at('secret'), 'utf8')).toBe('evil');
    expect(readFileSync(join(layer, root, 'secret'), 'utf8')).toBe('evil');
    expect(readFileSync(at('deep'), 'utf8')).toBe('evil');
  });

  test('a file is not written through a link of its name, nor is a directory changed through one', async () => {
    await unpack([
      { path: 'l', type: 'symlink', target: '../secret' },
      { path: 'l', content: 'evil' },
      { path: 'm', type: 'symlink', target: '..' },
      { path: 'm/', type: 'directory', mode: 0o777, mtime: 1 },
    ]);
    expect(lstatSync(at('l')).isFile()).toBe(true);
    expect(statSync(root).mtimeMs).not.toBe(1000);
  });

  test('hard links reach nothing outside', async () => {
    const error = await failure(unpack([{ path: 'h', type: 'link', target: '../secret' }]));
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.message).toContain('"../secret"');
    rmSync(layer, { recursive: true });
    const { foreignLinks } = await unpack([
      { path: 'd', type: 'symlink', target: '..' },
      { path: 'h', type: 'link', target: 'd/secret' },
    ]);
    expect(foreignLinks).toHaveLength(1);
  });

  test('links that lead in a circle', async () => {
    const error = await failure(
      unpack([
        { path: 'a', type: 'symlink', target: 'b' },
        { path: 'b', type: 'symlink', target: 'a' },
        { path: 'a/x' },
      ]),
    );
    expect(error.message).toBe('Cannot unpack entry "a/x": too many links lead on to others');
  });

  test.each<[string, TarFixtureEntry[], string]>([
    ['a file as a directory', [{ path: 'a' }, { path: 'a/b' }], '"a" in it is not a directory'],
    ['a root that is no directory', [{ path: './', content: '' }], 'it would replace the root'],
    [
      'a hard link to a directory',
      [
        { path: 'd/', type: 'directory' },
        { path: 'x', type: 'link', target: 'd' },
      ],
      'its target "d" is not a file',
    ],
    [
      'a hard link to itself',
      [{ path: 'a' }, { path: './a', type: 'link', target: 'a' }],
      'it is a hard link to itself',
    ],
    ['a name of 256 bytes', [{ path: 'n'.repeat(256) }], 'a name in it is longer than 255 bytes'],
    ['a path of 5000 bytes', [{ path: 'dir/'.repeat(1250) }], 'its path is too long'],
    ['an empty link', [{ path: 'l', type: 'symlink', target: '' }], 'ENOENT'],
    [
      'an attribute of overlayfs',
      [{ path: 'a', xattrs: { 'trusted.overlay.redirect': '/etc' } }],
      'it belongs to the overlay file system',
    ],
    ['a user that cannot be', [{ path: 'a', uid: 2 ** 32 - 1 }], '4294967295 is not an id'],
    [
      'a NUL in the name of a sparse file',
      [{ path: 'x', pax: sparse('a\0b'), content: `0\n${'\0'.repeat(510)}` }],
      'holds a NUL byte',
    ],
    [
      'a NUL in the target of a link',
      [{ path: 'x', type: 'symlink', target: `${'t'.repeat(120)}\0` }],
      'holds a NUL byte',
    ],
    ['a NUL in the name of an attribute', [{ path: 'x', xattrs: { 'user.a\0b': '' } }], 'NUL byte'],
    ['a name of 2 MB', [{ path: 'n/'.repeat(1_000_000) }], 'larger than 1 MiB'],
    ['a NUL in a PAX name', [{ path: 'x', pax: { path: 'a\0b' } }], 'holds a NUL byte'],
  ])('%s', async (_, entries, reason) => {
    const error = await failure(unpack(entries));
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.message).toContain(reason);
  });

  test('device nodes, where they are not wanted', async () => {
    const error = await failure(
      unpack([{ path: 'dev/sda', type: 'block', major: 8 }], { refuseDevices: true }),
    );
    expect(error.message).toContain('"dev/sda": it is a device node');
  });

  test.each<[string, TarFixtureEntry[]]>([
    ['entries', Array.from({ length: 12 }, (_, i) => ({ path: `f${i}` }))],
    ['bytes', [{ path: 'f', content: Buffer.alloc(2_000_000) }]],
    [
      'holes',
      [
        {
          path: 'f',
          pax: sparse('f'),
          content: `0\n${'\0'.repeat(510)}`,
        },
      ],
    ],
  ])('more %s than the limit', async (_, entries) => {
    const error = await failure(unpack(entries, { limits: { bytes: 1e6, entries: 10 } }));
    expect([error.code, error.message]).toEqual([
      'RESOURCE_EXHAUSTED',
      expect.stringContaining('more than'),
    ]);
  });

  test('ten million entries end at the limit', async () => {
    const member = gzipSync(
      Buffer.concat(Array.from({ length: 10_000 }, () => entryBlocks({ path: 'd/f' })).flat()),
    );
    const blob = Buffer.concat(Array.from({ length: 1000 }, () => member));
    const error = await failure(
      unpackArchive(Buffer.alloc(0), layer, { blob, limits: { bytes: 1e9, entries: 500 } }),
    );
    expect([error.code, error.message]).toEqual([
      'RESOURCE_EXHAUSTED',
      expect.stringContaining('more than 500 entries'),
    ]);
  });

  test('a decompression bomb of zeros after the end', async () => {
    const archive = Buffer.concat([tar([{ path: 'a' }]), Buffer.alloc(20_000_000)]);
    const error = await failure(
      unpackArchive(archive, layer, {
        blob: gzipSync(archive),
        limits: { bytes: 1e6, entries: 10 },
      }),
    );
    expect(error.code).toBe('RESOURCE_EXHAUSTED');
  });
});

describe('malformed archives', () => {
  const file = Buffer.concat(entryBlocks({ path: 'f', content: 'x'.repeat(1000) }));
  test.each<[string, Buffer, string]>([
    ['cut in a header', file.subarray(0, 300), 'it is truncated'],
    ['cut in a file', file.subarray(0, 1000), 'it is truncated'],
    [
      'cut after a PAX header',
      Buffer.concat(paxBlocks(new Map([['path', Buffer.from('x')]]))),
      'it is truncated',
    ],
    ['a wrong checksum', Buffer.concat([file, Buffer.alloc(512, 1), END]), 'octal'],
    [
      'a lone zero block',
      Buffer.concat([Buffer.alloc(512), file, END]),
      'data follows a lone zero block',
    ],
    [
      'an unknown type',
      Buffer.concat([header({ name: Buffer.from('v'), flag: 'V' }), END]),
      'entry "v" has type "V"',
    ],
    [
      'a PAX record beyond the header',
      Buffer.concat([
        header({ name: Buffer.from('x'), flag: 'x', size: 8 }),
        padded(Buffer.from('99 a=bc\n')),
        END,
      ]),
      'wrong length',
    ],
    [
      'a PAX header of 2 MB',
      Buffer.concat([header({ name: Buffer.from('x'), flag: 'x', size: 2_000_000 }), END]),
      'larger than 1 MiB',
    ],
    ['a negative size', Buffer.concat([negativeSize(), END]), 'size is negative'],
  ])('%s', async (_, archive, reason) => {
    const error = await failure(unpackArchive(archive, layer));
    expect([error.code, error.message]).toEqual([
      'INVALID_ARGUMENT',
      expect.stringContaining(reason),
    ]);
  });

  function negativeSize(): Buffer {
    const block = header({ name: Buffer.from('n'), flag: '0' });
    block.fill(0xff, 124, 136);
    return checksummed(block);
  }

  test('an archive without an end marker is whole', async () => {
    await unpackArchive(file, layer);
    expect(statSync(at('f')).size).toBe(1000);
  });

  test('an empty archive, and one of no bytes at all', async () => {
    await unpackArchive(END, layer);
    expect(readdirSync(layer)).toEqual([]);
    await unpackArchive(Buffer.alloc(0), join(root, 'none'));
  });

  test('a blob with another digest is told before what is wrong inside', async () => {
    const archive = tar([{ path: '../x' }]);
    const error = await failure(unpackArchive(archive, layer, { blob: gzipSync(archive) }));
    expect(error.code).toBe('INVALID_ARGUMENT');
    rmSync(layer, { recursive: true });
    const blob = gzipSync(archive);
    const work = unpackArchive(archive, layer, { blob, digest: `sha256:${'0'.repeat(64)}` });
    expect((await failure(work)).code).toBe('DATA_LOSS');
  });

  test('an archive with another digest than promised', async () => {
    const error = await failure(
      unpackArchive(tar([]), layer, { diffId: `sha256:${'0'.repeat(64)}` }),
    );
    expect([error.code, error.message]).toEqual([
      'DATA_LOSS',
      expect.stringContaining('the digest of its archive'),
    ]);
  });
});

// ISA-L where there is nothing else said, and zlib.
describe.each(GUNZIPS)('compression, gzip by %s', (gunzip) => {
  const archive = tar([{ path: 'f', content: Buffer.alloc(3_000_000, 'keelson ') }]);
  const half = archive.length >> 1;
  const members = [archive.subarray(0, half), archive.subarray(half)];
  test.each<[string, Buffer]>([
    ['gzip', gzipSync(archive)],
    ['gzip of several members', Buffer.concat(members.map((part) => gzipSync(part)))],
    [
      'gzip of many members',
      Buffer.concat(
        Array.from({ length: Math.ceil(archive.length / 1000) }, (_, i) =>
          gzipSync(archive.subarray(i * 1000, (i + 1) * 1000)),
        ),
      ),
    ],
    ['gzip with zeros behind', Buffer.concat([gzipSync(archive), Buffer.alloc(3_000_000)])],
    ['zstd', zstdCompressSync(archive)],
    ['zstd of several frames', Buffer.concat(members.map((part) => zstdCompressSync(part)))],
    ['none', archive],
  ])('%s', async (_, blob) => {
    await unpackArchive(archive, layer, { blob, gunzip });
    expect(statSync(at('f')).size).toBe(3_000_000);
  });

  test.each([
    ['gzip', gzipSync(archive)],
    ['zstd', zstdCompressSync(archive)],
  ])('%s cut short', async (_, whole) => {
    const error = await failure(
      unpackArchive(archive, layer, { blob: whole.subarray(0, -20), gunzip }),
    );
    expect(error.code).toBe('INVALID_ARGUMENT');
  });

  test('something else behind gzip', async () => {
    const blob = Buffer.concat([gzipSync(archive), Buffer.from('something else')]);
    const error = await failure(unpackArchive(archive, layer, { blob, gunzip }));
    expect([error.code, error.message]).toEqual([
      'INVALID_ARGUMENT',
      expect.stringContaining('incorrect header'),
    ]);
  });

  test('garbage within gzip', async () => {
    const blob = gzipSync(archive);
    blob.fill(0x55, blob.length >> 1);
    const error = await failure(unpackArchive(archive, layer, { blob, gunzip }));
    expect([error.code, error.message]).toEqual([
      'INVALID_ARGUMENT',
      expect.stringContaining('Cannot decompress layer'),
    ]);
  });
});

describe('archives of GNU tar', () => {
  const source = () => join(root, 'source');
  beforeEach(() => {
    mkdirSync(join(source(), 'dir'), { recursive: true });
    writeFileSync(join(source(), 'dir/file'), 'content');
    writeFileSync(join(source(), `dir/${'long-'.repeat(30)}`), 'long name');
    symlinkSync('t'.repeat(150), join(source(), 'dir/link'));
    chmodSync(join(source(), 'dir'), 0o2751);
  });

  const make = (options: string[], what = 'dir') =>
    execFileSync('tar', ['-C', source(), ...options, '-cf', '-', what], { maxBuffer: 1e9 });

  test.each(['gnu', 'oldgnu', 'posix'])('format %s', async (format) => {
    await unpackArchive(make([`--format=${format}`]), layer);
    expect(describeTree(layer)).toEqual(describeTree(source()));
  });

  test.each(['ustar', 'v7'])('format %s', async (format) => {
    rmSync(join(source(), `dir/${'long-'.repeat(30)}`));
    rmSync(join(source(), 'dir/link'));
    await unpackArchive(make([`--format=${format}`]), layer);
    expect(describeTree(layer)).toEqual(describeTree(source()));
  });

  test.each([
    ['--format=gnu'],
    ['--format=posix', '--sparse-version=0.0'],
    ['--format=posix', '--sparse-version=0.1'],
    ['--format=posix', '--sparse-version=1.0'],
  ])('sparse files, %s %s', async (...options) => {
    const path = join(source(), 'sparse');
    writeFileSync(path, 'start');
    // More stretches of data than the four that a GNU header holds.
    for (let i = 1; i <= 40; i++) {
      execFileSync('dd', [
        'if=/dev/urandom',
        `of=${path}`,
        'bs=4096',
        'count=1',
        `seek=${i * 20}`,
        'conv=notrunc',
        'status=none',
      ]);
    }
    truncateSync(path, 10_000_000);
    const archive = make([...options.filter(Boolean), '--sparse'], 'sparse');
    expect(archive.length).toBeLessThan(1_000_000);
    const { bytes } = await unpackArchive(archive, layer);
    expect(readFileSync(at('sparse')).equals(readFileSync(path))).toBe(true);
    expect(statSync(at('sparse')).blocks * 512).toBeLessThan(1_000_000);
    expect(bytes).toBeLessThan(1_000_000);
  });

  test('arrives in pieces of any size', async () => {
    const { TarReader } = await import('../../src/oci/images/tar-reader.ts');
    const archive = make(['--format=posix']);
    for (const size of [1, 7, 511, 512, 513, 10_000]) {
      const seen: string[] = [];
      const reader = new TarReader({
        entry: (entry) => seen.push(entry.name),
        data: (chunk, start, end) => seen.push(chunk.toString('latin1', start, end)),
        endEntry: () => {},
      });
      for (let position = 0; position < archive.length; position += size) {
        reader.push(archive.subarray(position, position + size));
      }
      reader.finish();
      expect(seen.join('')).toContain('dir/filecontent');
    }
  });
});
