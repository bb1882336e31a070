import { describe, expect, it } from 'vitest';
import { LineCutter, parseLogEntry } from './log-lines.ts';

describe('entries', () => {
  it('takes the four parts', () => {
    const entry = parseLogEntry(
      Buffer.from('2016-10-06T00:17:09.669794202Z stdout F log  content '),
    );
    expect(entry).toEqual({
      time: '2016-10-06T00:17:09.669794202Z',
      stream: 'stdout',
      partial: false,
      content: Buffer.from('log  content '),
    });
  });

  it('keeps bytes that are no text', () => {
    const head = Buffer.from('2016-10-06T00:17:09.6+02:00 stderr P ');
    const entry = parseLogEntry(Buffer.concat([head, Buffer.from([0xff, 0x00, 0xfe])]));
    expect(entry).toMatchObject({ stream: 'stderr', partial: true });
    expect([...entry!.content]).toEqual([0xff, 0x00, 0xfe]);
  });

  it('knows further tags and empty content', () => {
    expect(parseLogEntry(Buffer.from('2016-10-06T00:17:09Z stdout P:X x'))?.partial).toBe(true);
    expect(parseLogEntry(Buffer.from('2016-10-06T00:17:09Z stdout F'))?.content.length).toBe(0);
    expect(parseLogEntry(Buffer.from('2016-10-06T00:17:09Z stdout F '))?.content.length).toBe(0);
  });

  it.each(['', 'plain text', '{"log":"x"}', '2016-10-06T00:17:09Z stdin F x'])(
    'answers nothing for "%s"',
    (line) => {
      expect(parseLogEntry(Buffer.from(line))).toBeUndefined();
    },
  );
});

describe('cutting', () => {
  it('puts lines together that come in pieces', () => {
    const cutter = new LineCutter();
    const lines = ['a', 'b\nc', 'd', '\n', '\ne'].flatMap((text) =>
      [...cutter.push(Buffer.from(text))].map(String),
    );
    expect(lines).toEqual(['ab', 'cd', '']);
    expect(String(cutter.rest())).toBe('e');
    expect(cutter.rest()).toBeUndefined();
  });
});
