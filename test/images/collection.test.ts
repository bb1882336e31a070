import { existsSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  buildImage,
  buildLayer,
  digestOf,
  type FixtureImage,
  type FixtureLayer,
  pushImage,
} from '../fixtures/image.ts';
import { type RegistryFixture, startRegistry } from '../fixtures/registry.ts';
import { TestStore } from './store-fixture.ts';

let registry: RegistryFixture;
let unique = 0;
const shared = buildLayer([{ path: 'shared', content: 'shared' }]);

beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry?.stop());

async function push(image: FixtureImage): Promise<string> {
  const name = `gc/${unique++}`;
  await pushImage({ url: registry.url, repository: name }, 'latest', image);
  return `${registry.host}/${name}:latest`;
}

const own = (text: string, ...layers: FixtureLayer[]) =>
  buildImage({ layers: [...layers, buildLayer([{ path: text, content: text }])] });
const layersOf = (test: TestStore) => readdirSync(join(test.root, 'l')).length;

/** Waits for what happens in the background. */
async function eventually(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 500) throw new Error(`not within 10 s: ${condition}`);
    await sleep(20);
  }
}

test('layers go with the last image that has them', async () => {
  await using test = await TestStore.open();
  await test.store.collectGarbage();
  const [a, b] = [
    await test.pull(await push(own('a', shared))),
    await test.pull(await push(own('b', shared))),
  ];
  expect(layersOf(test)).toBe(3);
  await test.store.remove(a.id);
  await eventually(() => layersOf(test) === 2);
  expect((await test.store.find(b.id))?.id).toBe(b.id);
  await test.store.remove(b.repoTags[0]!);
  await eventually(
    () => layersOf(test) === 0 && readdirSync(join(test.root, 'images/trash')).length === 0,
  );
  expect(readdirSync(join(test.root, 'images/blobs'))).toEqual([]);
  expect(test.store.usage()).toMatchObject({ usedBytes: 0, inodesUsed: 0 });
});

test('held layers stay when the image is removed, until they are released', async () => {
  await using test = await TestStore.open();
  await test.store.collectGarbage();
  const image = await test.pull(await push(own('held')));
  const [path = ''] = test.store.layerPaths(image);
  test.store.hold('container', image);
  await test.store.remove(image.id);
  await test.store.collectGarbage();
  expect(existsSync(path)).toBe(true);
  expect(test.store.list()).toEqual([]);
  test.store.release('container');
  await eventually(() => !existsSync(path));
  expect(() => test.store.hold('late', image)).toThrow(
    expect.objectContaining({ code: 'NOT_FOUND' }),
  );
  expect(() => test.store.layerPaths(image)).toThrow(
    expect.objectContaining({ code: 'NOT_FOUND' }),
  );
});

test('after a restart nothing goes before the holds are renewed', async () => {
  await using test = await TestStore.open();
  const image = await test.pull(await push(own('restart')));
  const other = await test.pull(await push(own('other')));
  const ids = image.layers.map(({ id }) => id);
  test.store.hold('container', image);
  await test.store.remove(image.id);
  await test.reopen();
  // Before the daemon has looked at its containers.
  await test.store.remove(other.id);
  await sleep(50);
  expect(layersOf(test)).toBe(2);
  expect(test.store.holdLayers('container', [...ids, 'never'])).toEqual(['never']);
  await test.store.collectGarbage();
  await eventually(() => layersOf(test) === 1);
  expect(test.store.layerPathsOf(ids)).toHaveLength(1);
});

test('an image that is pulled again before its layers are collected keeps them', async () => {
  await using test = await TestStore.open();
  await test.store.collectGarbage();
  const name = await push(own('again'));
  for (let round = 0; round < 5; round++) {
    const image = await test.pull(name);
    const removed = test.store.remove(image.id);
    const again = await test.pull(name);
    await removed;
    const now = await test.store.find(again.id);
    if (now !== undefined) expect(existsSync(test.store.layerPaths(now)[0]!)).toBe(true);
  }
});

test('prune removes what has no tag, or all that is not in use, but nothing pinned', async () => {
  await using test = await TestStore.open({ pinned: [`${registry.host}/gc/*@sha256:*`] });
  const pinned = await test.pull(await push(own('pinned')));
  await test.reopen({ pinned: [pinned.repoTags[0]!] });
  const tagged = await test.pull(await push(own('tagged')));
  const used = await test.pull(await push(own('used')));
  const untaggedName = await push(own('untagged'));
  const untagged = await test.pull(
    `${untaggedName.replace(/:latest$/, '')}@${own('untagged').descriptor.digest}`,
  );
  test.store.hold('container', used);
  expect((await test.store.prune()).removed).toEqual([untagged.id]);
  const all = await test.store.prune({ all: true });
  expect(all.removed).toEqual([tagged.id]);
  expect(all.freed.layers).toBeGreaterThan(0);
  expect(
    test.store
      .list()
      .map(({ id }) => id)
      .sort(),
  ).toEqual([pinned.id, used.id].sort());
});

test('old beginnings of blobs are given up, young ones kept', async () => {
  await using test = await TestStore.open({ partialLifetime: 60_000 });
  const paths = ['old', 'young'].map((text) =>
    join(test.root, 'images/partial', digestOf(Buffer.from(text)).replace(':', '-')),
  );
  for (const path of paths) writeFileSync(path, 'beginning');
  utimesSync(paths[0]!, 0, 0);
  await test.reopen();
  expect((await test.store.collectGarbage()).partial).toBe(9);
  expect(paths.map((path) => existsSync(path))).toEqual([false, true]);
  expect((await test.store.prune()).freed.partial).toBe(9);
  expect(existsSync(paths[1]!)).toBe(false);
});

test('blobs are kept when asked for', async () => {
  await using test = await TestStore.open({ keepBlobs: true });
  const image = own('kept', shared);
  const record = await test.pull(await push(image));
  expect(readdirSync(join(test.root, 'images/blobs'))).toHaveLength(4);
  await test.store.collectGarbage();
  expect(readdirSync(join(test.root, 'images/blobs'))).toHaveLength(4);
  await test.reopen({ keepBlobs: false });
  await test.store.collectGarbage();
  expect(readdirSync(join(test.root, 'images/blobs'))).toHaveLength(2);
  await test.store.remove(record.id);
  await eventually(() => readdirSync(join(test.root, 'images/blobs')).length === 0);
});
