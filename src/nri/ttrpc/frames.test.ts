import { expect, test } from 'vitest';
import { FrameReader, MESSAGE_FORMAT, MESSAGE_LIMIT } from './frames.ts';

function frame(payload: string): Buffer {
  const header = Buffer.alloc(10, 7);
  header.writeUInt32BE(payload.length, 0);
  return Buffer.concat([header, Buffer.from(payload)]);
}

function read(chunks: Iterable<Buffer>): string[] {
  const payloads: string[] = [];
  const reader = new FrameReader(MESSAGE_FORMAT, (header, payload) => {
    expect(header).toHaveLength(10);
    payloads.push(payload.toString());
  });
  for (const chunk of chunks) reader.push(chunk);
  return payloads;
}

const bytes = Buffer.concat([frame('one'), frame(''), frame('three')]);

test.each([1, 2, 9, 10, 11, 13, 1000])(
  'frames are put together from chunks of %i bytes',
  (size) => {
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
      bytes.subarray(index * size, (index + 1) * size),
    );
    expect(read(chunks)).toEqual(['one', '', 'three']);
  },
);

test('a frame that is not complete waits', () => {
  expect(read([bytes.subarray(0, bytes.length - 1)])).toEqual(['one', '']);
});

test('a frame that claims too much is refused before it comes', () => {
  const header = Buffer.alloc(10);
  header.writeUInt32BE(MESSAGE_LIMIT + 1, 0);
  expect(() => read([header])).toThrow('it claims 4194305 bytes, more than 4194304');
});
