import { constants, createDeflate, createInflate, type Zlib } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KeelsonError } from '../../base/index.ts';
import { parseHeaderBlock } from './header-block.ts';
import { EmptyHeaderDeflater, HeaderInflater } from './header-compression.ts';
import { HEADER_DICTIONARY } from './header-dictionary.ts';

function plainBlock(headers: Record<string, string>): Buffer {
  const strings = Object.entries(headers)
    .flat()
    .map((text) => Buffer.from(text));
  const u32 = (value: number) => Buffer.from(value.toString(16).padStart(8, '0'), 'hex');
  return Buffer.concat([
    u32(Object.keys(headers).length),
    ...strings.flatMap((string) => [u32(string.length), string]),
  ]);
}

/** Writes to a zlib stream and answers what a sync flush brings out. */
async function through(stream: Zlib & NodeJS.ReadWriteStream, input: Buffer): Promise<Buffer> {
  const parts: Buffer[] = [];
  stream.on('data', (part: Buffer) => parts.push(part));
  stream.write(input);
  await new Promise<void>((done) =>
    (stream as Zlib & { flush(kind: number, done: () => void): void }).flush(
      constants.Z_SYNC_FLUSH,
      done,
    ),
  );
  stream.removeAllListeners('data');
  return Buffer.concat(parts);
}

test('the dictionary is that of the draft', async () => {
  const head = await through(createDeflate({ dictionary: HEADER_DICTIONARY }), Buffer.alloc(1));
  expect(HEADER_DICTIONARY.length).toBe(1423);
  expect(head.toString('hex', 2, 6)).toBe('e3c6a7c2');
});

test('blocks of one connection share one zlib stream', async () => {
  const deflate = createDeflate({ dictionary: HEADER_DICTIONARY, level: 9 });
  using inflater = new HeaderInflater();
  for (const headers of [
    { streamtype: 'error' },
    {},
    { streamtype: 'data', port: '80', requestid: '0' },
    { long: 'x'.repeat(60_000) },
    { streamtype: 'error' },
  ]) {
    const block = await through(deflate, plainBlock(headers));
    expect(Object.fromEntries(await inflater.read(block))).toEqual(headers);
  }
});

test('empty blocks are what zlib makes of them', async () => {
  const deflater = new EmptyHeaderDeflater();
  const inflate = createInflate({ dictionary: HEADER_DICTIONARY });
  for (let i = 0; i < 3; i++) {
    expect((await through(inflate, deflater.next())).toString('hex')).toBe('00000000');
  }
});

test('a block that grows beyond bounds is refused, and so is all that follows', async () => {
  const deflate = createDeflate({ dictionary: HEADER_DICTIONARY, level: 9 });
  const bomb = await through(deflate, plainBlock({ bomb: 'x'.repeat(20_000_000) }));
  expect(bomb.length).toBeLessThan(32 * 1024);
  using inflater = new HeaderInflater();
  await expect(inflater.read(bomb)).rejects.toThrow('a header block is too long');
  await expect(inflater.read(Buffer.alloc(4))).rejects.toThrow(KeelsonError);
});

test('waiting readers are told when the connection closes', async () => {
  const inflater = new HeaderInflater();
  const read = inflater.read(Buffer.alloc(1));
  inflater[Symbol.dispose]();
  await expect(read).rejects.toThrow(KeelsonError);
});

test.each([
  ['too short', '000000'],
  ['a count without pairs', '00000001'],
  ['too many pairs', '00000041'],
  ['a giant length', '0000000100ffffff61'],
  ['upper case', '0000000100000001410000000161'],
  ['an empty name', '00000001000000000000000161'],
  ['a name twice', '000000020000000161000000016100000001610000000161'],
  ['more than its pairs', '0000000000'],
])('a block with %s is refused', (_, hex) => {
  expect(() => parseHeaderBlock(Buffer.from(hex, 'hex'))).toThrow(KeelsonError);
});

test('any block is headers or a KeelsonError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        parseHeaderBlock(Buffer.from(bytes));
      } catch (error) {
        expect(error).toBeInstanceOf(KeelsonError);
      }
    }),
  );
});
