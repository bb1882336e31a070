import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { readSizes, TerminalSizes } from './terminal-sizes.ts';

/** The sizes that a consumer sees which asks after each chunk. */
async function sizesOf(chunks: string[]): Promise<string[]> {
  const channel = new PassThrough();
  const sizes = new TerminalSizes();
  readSizes(channel, sizes);
  const seen: string[] = [];
  const consumed = (async () => {
    for await (const { width, height } of sizes) seen.push(`${width}x${height}`);
  })();
  for (const chunk of chunks) {
    channel.write(chunk);
    await new Promise((resolve) => setImmediate(resolve));
  }
  sizes.end();
  await consumed;
  return seen;
}

test('objects may come in any pieces', async () => {
  expect(await sizesOf(['{"Width":80,"Hei', 'ght":24}\n{"Width"', ':81,"Height":25}'])).toEqual([
    '80x24',
    '81x25',
  ]);
});

test('a slow consumer sees the newest only', async () => {
  expect(await sizesOf(['{"Width":1,"Height":1}{"Width":2,"Height":2}'])).toEqual(['2x2']);
});

test.each([
  ['{"Width":0,"Height":24}'],
  ['{"Width":80}'],
  ['{"Width":65536,"Height":24}'],
  ['{"Width":1.5,"Height":24}'],
  ['{"Width":-1,"Height":24}'],
  ['{}'],
])('%s is skipped', async (message) => {
  expect(await sizesOf([message, '{"Width":3,"Height":4}'])).toEqual(['3x4']);
});

test.each([['nonsense}'], ['[]}'], ['x'.repeat(2000)]])(
  'after %s nothing is believed',
  async (message) => {
    expect(await sizesOf([message, '{"Width":3,"Height":4}'])).toEqual([]);
  },
);
