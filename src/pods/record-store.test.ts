import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Logger, SILENT } from '../base/index.ts';
import { type RecordChange, RecordStore } from './record-store.ts';

interface Thing {
  id: string;
  meta: { name: string };
  value: number;
}

let directory: string;
let errors: string[];
let logger: Logger;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-records-'));
  errors = [];
  logger = { ...SILENT, error: (_, message) => void errors.push(message) };
});
afterEach(() => rm(directory, { recursive: true }));

async function open(): Promise<RecordStore<Thing>> {
  const store = new RecordStore<Thing>(join(directory, 'things'), 'thing', ({ meta }) => meta.name);
  await store.load(join(directory, 'unreadable'), logger);
  return store;
}

const thing = (id: string, name = id, value = 0): Thing => ({ id, meta: { name }, value });

/** What a crash or another version may have left. */
async function leave(id: string, text: string): Promise<void> {
  await mkdir(join(directory, 'things', id), { recursive: true });
  await writeFile(join(directory, 'things', id, 'record.json'), text);
}

describe('records', () => {
  test('are found again after a restart', async () => {
    const before = await open();
    const record = thing('a1');
    await before.add(record);
    await before.update(record, { value: 2 });
    expect((await open()).list()).toEqual([{ ...record, value: 2 }]);
  });

  test('that are removed are gone, with their files, also after a restart', async () => {
    const store = await open();
    await store.add(thing('a1'));
    await writeFile(join(store.directoryOf('a1'), 'config.json'), '');
    await store.remove('a1');
    await store.remove('a1');
    expect(store.list()).toEqual([]);
    expect((await open()).list()).toEqual([]);
    expect(await readdir(join(directory, 'things'))).toEqual([]);
  });

  test('that are removed do not come back by a late update', async () => {
    const store = await open();
    const record = thing('a1');
    await store.add(record);
    await store.remove('a1');
    await expect(store.update(record, { value: 1 })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await store.add(thing('a2', 'a1'));
  });

  test('tell of their changes when these are on disk', async () => {
    const store = await open();
    const record = thing('a1');
    await store.add(record);
    const path = join(store.directoryOf('a1'), 'record.json');
    const onDisk = () => (existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined);
    const changes: (RecordChange<Thing> & { onDisk: Thing | undefined })[] = [];
    store.onChange((change) => changes.push({ ...change, onDisk: onDisk() }));
    const next = await store.update(record, { value: 1 });
    await store.remove('a1');
    expect(changes).toEqual([
      { record: next, before: record, after: next, onDisk: next },
      { record: next, before: next, after: undefined, onDisk: undefined },
    ]);
  });
});

describe('names', () => {
  test('are reserved by one record', async () => {
    const store = await open();
    await store.add(thing('a1', 'name'));
    await expect(store.add(thing('b2', 'name'))).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: expect.stringContaining('the name is reserved for "a1"'),
    });
    expect(store.list()).toHaveLength(1);
    expect(existsSync(store.directoryOf('b2'))).toBe(false);
  });

  test('are reserved at once: of two at the same time one wins', async () => {
    const store = await open();
    const added = await Promise.allSettled([
      store.add(thing('a1', 'name')),
      store.add(thing('b2', 'name')),
    ]);
    expect(added.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  test('are free again when their record is removed, and not when another is', async () => {
    const store = await open();
    await store.add(thing('a1', 'name'));
    await expect(store.add(thing('b2', 'name'))).rejects.toThrow();
    await store.remove('b2');
    await expect(store.add(thing('c3', 'name'))).rejects.toThrow();
    await store.remove('a1');
    await store.add(thing('c3', 'name'));
  });

  test('stay reserved after a restart', async () => {
    await (await open()).add(thing('a1', 'name'));
    await expect((await open()).add(thing('b2', 'name'))).rejects.toThrow('reserved for "a1"');
  });

  test('of a record that could not be written are free when it is removed', async () => {
    const store = await open();
    await writeFile(join(directory, 'things', 'a1'), 'in the way');
    await expect(store.add(thing('a1', 'name'))).rejects.toThrow();
    await rm(join(directory, 'things', 'a1'));
    await store.remove('a1');
    await store.add(thing('b2', 'name'));
  });
});

describe('looking for', () => {
  let store: RecordStore<Thing>;
  beforeEach(async () => {
    store = await open();
    for (const id of ['abc1', 'abc2', 'abc']) await store.add(thing(id));
  });

  test('an id or a prefix that one record has finds it', () => {
    expect(store.get('abc1').id).toBe('abc1');
    expect(store.get('abc').id).toBe('abc');
    expect(store.find('abc2')?.id).toBe('abc2');
  });

  test('a prefix that several have is refused', () => {
    expect(() => store.find('ab')).toThrow('Cannot find thing "ab": 3 ids start with it');
  });

  test.each(['', 'x', 'abc11', '/'])('%j finds nothing', (id) => {
    expect(store.find(id)).toBeUndefined();
    expect(() => store.get(id)).toThrow(`There is no thing "${id}"`);
  });
});

describe('loading', () => {
  test.each([
    ['half a record', '{"id":"bad","meta":'],
    ['nothing', ''],
    ['null', 'null'],
    ['a list', '[]'],
    ['a record of another form', '{"id":"bad"}'],
    ['the record of another id', '{"id":"good","meta":{"name":"x"}}'],
  ])('sets %s aside, reports it and goes on', async (_what, text) => {
    await leave('bad', text);
    await leave('good', JSON.stringify(thing('good')));
    const store = await open();
    expect(store.list()).toEqual([thing('good')]);
    expect(errors).toEqual(['the record of a thing is unreadable: set aside']);
    const aside = join(directory, 'unreadable', 'thing-bad', 'record.json');
    expect(await readFile(aside, 'utf8')).toBe(text);
    expect(await readdir(join(directory, 'things'))).toEqual(['good']);
  });

  test('sets aside what is no directory', async () => {
    await mkdir(join(directory, 'things'));
    await writeFile(join(directory, 'things', 'stray'), '');
    expect((await open()).list()).toEqual([]);
    expect(await readdir(join(directory, 'unreadable'))).toEqual(['thing-stray']);
  });

  test('goes on where nothing can be set aside', async () => {
    await leave('bad', 'x');
    await leave('good', JSON.stringify(thing('good')));
    await mkdir(join(directory, 'unreadable/thing-bad/full'), { recursive: true });
    expect((await open()).list()).toEqual([thing('good')]);
    expect(errors).toContain('an unreadable thing stays where it is');
  });

  test('deletes a directory whose record was never written', async () => {
    await mkdir(join(directory, 'things/half/bundle'), { recursive: true });
    await writeFile(join(directory, 'things/half/record.json.0123.tmp'), '{}');
    expect((await open()).list()).toEqual([]);
    expect(await readdir(join(directory, 'things'))).toEqual([]);
    expect(errors).toEqual([]);
  });
});
