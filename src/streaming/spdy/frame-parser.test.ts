import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KeelsonError } from '../../base/index.ts';
import { FrameParser } from './frame-parser.ts';
import {
  dataHeader,
  emptySettings,
  type Frame,
  goaway,
  ping,
  rstStream,
  synReply,
} from './frames.ts';

/** Feeds bytes in pieces of the given sizes, over and over. */
function parse(bytes: Buffer, sizes: readonly number[]): Frame[] {
  const parser = new FrameParser();
  const frames: Frame[] = [];
  let offset = 0;
  for (let i = 0; offset < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    frames.push(...parser.push(bytes.subarray(offset, offset + size)));
    offset += size;
  }
  return joined(frames);
}

/** Data frames are passed on in pieces; what they amount to must not depend on the pieces. */
function joined(frames: Frame[]): Frame[] {
  const result: Frame[] = [];
  for (const frame of frames) {
    const last = result.at(-1);
    if (
      frame.type === 'data' &&
      last?.type === 'data' &&
      !last.fin &&
      last.streamId === frame.streamId
    ) {
      last.piece = Buffer.concat([last.piece, frame.piece]);
      last.fin = frame.fin;
    } else {
      result.push({ ...frame });
    }
  }
  return result;
}

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 });

test('frames are the same however the network cuts them', () => {
  const payload = Buffer.from('0123456789'.repeat(10));
  const bytes = Buffer.concat([
    synReply(1, Buffer.from('block')),
    dataHeader(3, payload.length, false),
    payload,
    dataHeader(5, 0, true),
    ping(9),
    emptySettings(),
    rstStream(3, 5),
    dataHeader(7, payload.length, true),
    payload,
    goaway(7, 0),
  ]);
  const whole = parse(bytes, [bytes.length]);
  expect(whole).toEqual([
    { type: 'header-block', block: Buffer.from('block') },
    { type: 'data', streamId: 3, piece: payload, fin: false },
    { type: 'data', streamId: 5, piece: Buffer.alloc(0), fin: true },
    { type: 'ping', id: 9 },
    { type: 'rst-stream', streamId: 3, status: 5 },
    { type: 'data', streamId: 7, piece: payload, fin: true },
    { type: 'goaway' },
  ]);
  fc.assert(
    fc.property(sizes, (cuts) => {
      expect(parse(bytes, cuts)).toEqual(whole);
    }),
  );
});

test('whatever comes is frames or a KeelsonError, and both do not depend on the cuts', () => {
  const attempt = (bytes: Buffer, cuts: readonly number[]) => {
    try {
      return parse(bytes, cuts);
    } catch (error) {
      expect(error).toBeInstanceOf(KeelsonError);
      return String(error);
    }
  };
  const noise = fc.uint8Array({ minLength: 1, maxLength: 300 });
  // Mostly plausible: a control frame's start with a random type, flags, length and payload.
  const control = fc
    .tuple(
      fc.integer({ min: 0, max: 12 }),
      fc.integer({ min: 0, max: 3 }),
      fc.uint8Array({ maxLength: 30 }),
    )
    .map(([type, flags, payload]) =>
      Uint8Array.of(0x80, 3, 0, type, flags, 0, 0, payload.length, ...payload),
    );
  const bytes = fc
    .array(fc.oneof(noise, control), { maxLength: 8 })
    .map((parts) => Buffer.concat(parts));
  fc.assert(
    fc.property(bytes, sizes, (input, cuts) => {
      expect(attempt(input, cuts)).toEqual(attempt(input, [Math.max(1, input.length)]));
    }),
    { numRuns: 3000 },
  );
});

test('a data frame of 16 MiB is never held', () => {
  const parser = new FrameParser();
  const chunk = Buffer.alloc(65536);
  expect([...parser.push(dataHeader(1, 0xffffff, true))]).toEqual([]);
  let size = 0;
  for (let i = 0; i < 255; i++) {
    for (const frame of parser.push(chunk)) {
      if (frame.type === 'data') size += frame.piece.length;
      expect(frame).toMatchObject({ type: 'data', fin: false });
    }
  }
  expect(size).toBe(255 * 65536);
});

test('a control frame above the limit is refused before its payload comes', () => {
  expect(() => [...new FrameParser().push(Buffer.from('8003000100008001', 'hex'))]).toThrow(
    'a control frame is 32769 bytes long',
  );
});
