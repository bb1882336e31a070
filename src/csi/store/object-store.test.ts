import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SILENT } from '../../base/index.ts';
import { type Manifest, parseManifests } from '../objects/index.ts';
import { type Change, ObjectStore } from './index.ts';

let directory: string;
let store: ObjectStore;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-objects-'));
  store = await open();
});

afterEach(() => rm(directory, { recursive: true, force: true }));

const open = () => ObjectStore.open({ directory, logger: SILENT });

function claim(name = 'data', namespace = 'default'): Manifest<'PersistentVolumeClaim'> {
  const [manifest] = parseManifests(
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name, namespace },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    }),
  );
  return manifest as Manifest<'PersistentVolumeClaim'>;
}

const DATA = { kind: 'PersistentVolumeClaim', name: 'data' } as const;

test('objects are there after the store is opened again', async () => {
  const longest = 'a'.repeat(253);
  const created = await store.create(claim());
  await store.create(claim(longest, 'other'));
  await store.create(claim(`${'a'.repeat(252)}b`, 'other'));
  const again = await open();
  expect(again.get(DATA)).toEqual(created);
  expect(again.get({ ...DATA, name: longest, namespace: 'other' }).metadata.name).toBe(longest);
  expect(again.list('PersistentVolumeClaim')).toHaveLength(3);
  const later = await again.create(claim('later'));
  const versions = again.list('PersistentVolumeClaim').map(({ metadata }) => metadata);
  expect(new Set(versions.map(({ resourceVersion }) => resourceVersion)).size).toBe(4);
  expect(Number(later.metadata.resourceVersion)).toBeGreaterThan(
    Number(created.metadata.resourceVersion),
  );
});

test('a name is taken once, also by two at the same time', async () => {
  const results = await Promise.allSettled([store.create(claim()), store.create(claim())]);
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  await expect(store.create(claim())).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
});

test('changes are seen in order, and nothing is told when nothing changes', async () => {
  const changes: Change[] = [];
  using _ = store.watch((change) => changes.push(change));
  await store.create(claim());
  await store.change(DATA, (object) => ({ ...object }));
  await store.change(DATA, (object) => ({ ...object, status: { phase: 'Pending' } }));
  await store.delete(DATA);
  await store.delete(DATA);
  expect(changes.map(({ type }) => type)).toEqual(['added', 'modified', 'deleted']);
  expect(store.find(DATA)).toBeUndefined();
});

test('finalizers hold an object until the last one goes', async () => {
  await store.create<'PersistentVolumeClaim'>({
    ...claim(),
    metadata: { ...claim().metadata, finalizers: ['a/b', 'c/d'] },
  });
  await store.delete(DATA);
  const marked = store.get(DATA);
  expect(marked.metadata.deletionTimestamp).toBeDefined();
  await store.delete(DATA);
  expect(store.get(DATA)).toEqual(marked);
  const without = (finalizers: string[]) => (object: typeof marked) => ({
    ...object,
    metadata: { ...object.metadata, finalizers },
  });
  await store.change(DATA, without(['c/d']));
  expect((await open()).find(DATA)).toBeDefined();
  await store.change(DATA, without([]));
  expect(store.find(DATA)).toBeUndefined();
  expect((await open()).find(DATA)).toBeUndefined();
});

test('what only a server says does not count in an applied manifest', async () => {
  const metadata = { ...claim().metadata, uid: 'mine', deletionTimestamp: 'now' };
  const { object: applied } = await store.apply<'PersistentVolumeClaim'>({
    ...claim(),
    metadata,
    status: { phase: 'Bound' },
  });
  expect(applied.metadata.uid).not.toBe('mine');
  expect(applied.metadata.deletionTimestamp).toBeUndefined();
  expect(applied.status).toBeUndefined();
});

test('objects cannot be changed in place', async () => {
  const object = await store.create<'PersistentVolumeClaim'>(claim());
  expect(() => {
    object.spec.accessModes.push('ReadWriteMany');
  }).toThrow();
});

test('what cannot be read is set aside and reported; the rest is there', async () => {
  await store.create(claim());
  await store.create(claim('broken'));
  await store.create(claim('swapped'));
  const files = join(directory, 'PersistentVolumeClaim', 'default');
  await writeFile(join(files, 'broken.json'), '{"half": ');
  await writeFile(join(files, 'swapped.json'), await readFile(join(files, 'data.json')));
  await writeFile(join(files, 'data.json.abc.tmp'), '{');
  await mkdir(join(directory, 'StorageClass', 'deep'), { recursive: true });
  const again = await open();
  expect(again.list('PersistentVolumeClaim').map(({ metadata }) => metadata.name)).toEqual([
    'data',
  ]);
  expect(again.unreadable.map(({ path }) => path.endsWith('.json'))).toEqual([true, true]);
  expect(await readdir(join(directory, 'unreadable'))).toHaveLength(2);
  expect(await readdir(files)).toEqual(['data.json']);
  expect((await open()).unreadable).toEqual([]);
});

test('an object that its own schema refuses is not written', async () => {
  await store.create(claim());
  const change = store.change(DATA, (object) => ({ ...object, status: { phase: 'Odd' as never } }));
  await expect(change).rejects.toThrow(/status\.phase/);
  expect((await open()).get(DATA).status).toBeUndefined();
});
