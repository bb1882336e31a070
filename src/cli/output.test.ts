import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { print, table } from './output.ts';

describe('tables', () => {
  it('are as wide as they need to be, without blanks at the end', () => {
    expect(
      table([
        ['A', 'BB', 'C'],
        ['aaa', 'b', ''],
        ['', '', 'c'],
      ]),
    ).toBe('A     BB   C\naaa   b\n           c\n');
    expect(table([])).toBe('');
  });

  it('do not steer the terminal', () => {
    expect(table([['\x1b[2J', 'a\nb', '\x9b1m']])).toBe('?[2J   a?b   ?1m\n');
  });
});

describe('printing', () => {
  it('waits for the reader, and leaves no listeners', async () => {
    const output = new PassThrough({ highWaterMark: 4 });
    let done = false;
    const printing = print(output, 'longer than four').then(() => {
      done = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(false);
    output.resume();
    await printing;
    expect(output.listenerCount('drain') + output.listenerCount('error')).toBe(0);
  });

  it('goes on when the reader has gone', async () => {
    const output = new PassThrough({ highWaterMark: 4 });
    const printing = print(output, 'longer than four');
    output.destroy();
    await printing;
    await print(
      output.on('error', () => {}),
      'more',
    );
  });
});
