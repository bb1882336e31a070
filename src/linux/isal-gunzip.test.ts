import { randomBytes } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IsalGunzip } from './isal-gunzip.ts';

async function open(): Promise<IsalGunzip> {
  const gunzip = await IsalGunzip.open();
  if (gunzip === undefined) throw new Error('this host has no libisal.so.2');
  return gunzip;
}

/** Decompresses one member, given and taken in pieces of these sizes. */
async function decompress(blob: Buffer, inputSize: number, outputSize: number) {
  const gunzip = await open();
  const pieces: Buffer[] = [];
  for (let at = 0; at < blob.length && !gunzip.ended; at += inputSize) {
    gunzip.give(blob.subarray(at, at + inputSize));
    for (let made = outputSize; gunzip.left > 0 || made === outputSize; ) {
      const output = Buffer.alloc(outputSize);
      made = await gunzip.inflate(output);
      pieces.push(output.subarray(0, made));
      if (gunzip.ended) break;
    }
  }
  return { content: Buffer.concat(pieces), ended: gunzip.ended, left: gunzip.left };
}

test('what zlib packed comes out as it was, in pieces of any size', async () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 2000 }),
    fc.tuple(fc.uint8Array({ maxLength: 40 }), fc.nat(300)).map(([bytes, times]) => {
      return Buffer.concat(Array.from({ length: times }, () => bytes));
    }),
  );
  const cases = fc.asyncProperty(
    fc.array(piece, { maxLength: 6 }),
    fc.nat(9),
    fc.integer({ min: 1, max: 5000 }),
    fc.integer({ min: 1, max: 5000 }),
    async (parts, level, inputSize, outputSize) => {
      const content = Buffer.concat(parts);
      const blob = gzipSync(content, { level });
      const result = await decompress(blob, inputSize, Math.max(outputSize, 16));
      expect(result).toEqual({ content, ended: true, left: 0 });
    },
  );
  await fc.assert(cases, { numRuns: 100 });
});

test('byte by byte', async () => {
  const content = Buffer.concat([randomBytes(500), Buffer.alloc(500, 'keelson ')]);
  expect((await decompress(gzipSync(content), 1, 1)).content).toEqual(content);
});

test('a header with a name, a comment, more fields and a checksum of its own is read over', async () => {
  const bare = gzipSync('content');
  const header = Buffer.from([0x1f, 0x8b, 8, 4 | 8 | 16, 0, 0, 0, 0, 0, 3, 3, 0, 1, 2, 3]);
  const names = Buffer.from('layer.tar\0a comment\0');
  const blob = Buffer.concat([header, names, bare.subarray(10)]);
  expect(gunzipSync(blob).toString()).toBe('content');
  expect((await decompress(blob, 4, 100)).content.toString()).toBe('content');
});

test('a member is over where the next begins, and that follows after a restart', async () => {
  const gunzip = await open();
  gunzip.give(Buffer.concat([gzipSync('one'), gzipSync('two'), Buffer.alloc(3)]));
  const output = Buffer.alloc(100);
  expect(output.toString('latin1', 0, await gunzip.inflate(output))).toBe('one');
  expect([gunzip.ended, gunzip.nextByte]).toEqual([true, 0x1f]);
  gunzip.restart();
  expect(output.toString('latin1', 0, await gunzip.inflate(output))).toBe('two');
  expect([gunzip.ended, gunzip.left, gunzip.nextByte]).toEqual([true, 3, 0]);
});

test.each<[string, (blob: Buffer) => void, RegExp]>([
  ['a wrong checksum', (blob) => blob.writeUInt32LE(7, blob.length - 8), /incorrect checksum/],
  ['a wrong length', (blob) => blob.writeUInt32LE(7, blob.length - 4), /incorrect checksum/],
  ['another method', (blob) => blob.writeUInt8(7, 2), /unsupported method/],
  ['no gzip', (blob) => blob.writeUInt8(7, 1), /incorrect header/],
  ['a block of no known kind', (blob) => blob.writeUInt8(7, 10), /invalid block/],
])('%s is refused', async (_, spoil, message) => {
  const blob = gzipSync('content '.repeat(100));
  spoil(blob);
  await expect(decompress(blob, blob.length, 100)).rejects.toThrow(message);
});

test('whatever is done to a stream, it ends with the content or a reason', async () => {
  const blob = gzipSync(Buffer.concat([randomBytes(300), Buffer.alloc(3000, 'keelson ')]));
  const whole = gunzipSync(blob);
  const change = fc.tuple(fc.nat(blob.length - 1), fc.nat(255));
  const cases = fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (all) => {
    const spoilt = Buffer.from(blob);
    for (const [at, value] of all) spoilt.writeUInt8(value, at);
    const result = await decompress(spoilt, 100, 1000).catch((error: Error) => error.message);
    if (typeof result === 'string') expect(result).toMatch(/^(in|un)/);
    else if (result.ended) expect(result.content).toEqual(whole);
  });
  await fc.assert(cases, { numRuns: 300 });
});
