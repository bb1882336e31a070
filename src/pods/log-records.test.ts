import { describe, expect, test } from 'vitest';
import { partRest, unfinishedStreams } from './log-records.ts';

const log = (...records: string[]) =>
  Buffer.from(records.map((record) => `2026-01-01T00:00:00.000000000+00:00 ${record}`).join(''));

describe('unfinishedStreams', () => {
  test('are those whose last record is partial', () => {
    const text = log('stdout P a\n', 'stderr P b\n', 'stdout F c\n', 'stderr P d\n');
    expect([...unfinishedStreams(text, true)]).toEqual(['stderr']);
    expect([...unfinishedStreams(log('stdout F P stderr P x\n', 'stderr F \n'), true)]).toEqual([]);
    expect([...unfinishedStreams(Buffer.alloc(0), true)]).toEqual([]);
  });

  test('do not follow from half a record', () => {
    const text = Buffer.concat([Buffer.from('a stdout P b\n'), log('stderr F c\n')]);
    expect([...unfinishedStreams(text, false)]).toEqual([]);
  });
});

describe('partRest', () => {
  test('takes the rest of each unfinished line, and nothing else', () => {
    const text = log(
      ...['stderr P other\n', 'stdout P re\n', 'stderr F wise\n', 'stdout F st\n'],
      ...['stdout F next\n', 'stdout P half'],
    );
    const parts = partRest(text, new Set(['stdout']));
    expect(parts!.rest).toEqual(log('stdout P re\n', 'stdout F st\n'));
    const others = ['stderr P other\n', 'stderr F wise\n', 'stdout F next\n', 'stdout P half'];
    expect(parts!.others).toEqual(log(...others));
  });

  test('waits for all of them', () => {
    const both = new Set(['stdout', 'stderr']);
    expect(partRest(log('stdout F a\n', 'stdout F b\n'), both)).toBeUndefined();
    expect(partRest(log('stdout F a\n', 'stderr P b\n'), both)).toBeUndefined();
    expect(partRest(log('stdout F a\n', 'stderr F b'), both)).toBeUndefined();
    expect(partRest(log('stdout F a\n', 'stderr F b\n'), both)!.others.length).toBe(0);
  });
});
