import { execFileSync } from 'node:child_process';
import { createReadStream, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { NEVER } from '../../src/base/index.ts';
import { buildImage, buildLayer, type FixtureImage, pushImage } from '../fixtures/image.ts';
import { type RegistryFixture, startRegistry } from '../fixtures/registry.ts';
import { type TarFixtureEntry, tar } from '../fixtures/tar.ts';
import { describeTree } from './layer-fixture.ts';
import { TestStore } from './store-fixture.ts';

let registry: RegistryFixture;
let directory: string;
const image = buildImage({
  layers: [
    buildLayer([{ path: 'a', content: 'base' }]),
    buildLayer([{ path: 'b', content: 'top' }], { compression: 'zstd' }),
  ],
  config: { Cmd: ['a'] },
});

beforeAll(async () => {
  registry = await startRegistry();
  await pushImage({ url: registry.url, repository: 'saved' }, 'v1', image);
});
afterAll(() => registry?.stop());
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keelson-archives-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const hex = (digest: string) => digest.slice('sha256:'.length);

/** An OCI layout as an archive. */
function layoutEntries(
  images: readonly [name: string | undefined, image: FixtureImage][],
): TarFixtureEntry[] {
  const blobs = new Map<string, Buffer>();
  for (const [, { manifest, descriptor, config, configDescriptor, layers }] of images) {
    blobs.set(descriptor.digest, manifest);
    blobs.set(configDescriptor.digest, config);
    for (const layer of layers) blobs.set(layer.descriptor.digest, layer.blob);
  }
  const manifests = images.map(([name, { descriptor }]) => ({
    ...descriptor,
    ...(name === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': name } }),
  }));
  return [
    ...[...blobs].map(([digest, content]) => ({ path: `./blobs/sha256/${hex(digest)}`, content })),
    { path: './oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
    { path: './index.json', content: JSON.stringify({ schemaVersion: 2, manifests }) },
  ];
}

/** What old versions of `docker save` write: layers in directories, the same one linked. */
function dockerEntries(): TarFixtureEntry[] {
  const layer = tar([{ path: 'f', content: 'docker' }]);
  const saved = buildImage({
    layers: [0, 1].map(() => buildLayer(layer, { compression: 'none', docker: true })),
    docker: true,
  });
  return [
    { path: `${hex(saved.id)}.json`, content: saved.config },
    { path: '1/', type: 'directory' },
    { path: '1/layer.tar', content: layer },
    { path: '2/layer.tar', type: 'symlink', target: '../1/layer.tar' },
    {
      path: 'manifest.json',
      content: JSON.stringify([
        {
          Config: `${hex(saved.id)}.json`,
          RepoTags: ['tool:1', 'example.com/tool:2'],
          Layers: ['1/layer.tar', '2/layer.tar'],
        },
      ]),
    },
  ];
}

async function load(test: TestStore, archive: Buffer) {
  const path = join(directory, 'archive.tar');
  await writeFile(path, archive);
  return test.store.load(path, { signal: NEVER });
}

async function save(test: TestStore, names: string[], format?: 'oci' | 'docker'): Promise<string> {
  const path = join(directory, 'saved.tar');
  await writeFile(path, test.store.save(names, { signal: NEVER, ...(format ? { format } : {}) }));
  return path;
}

describe('load', () => {
  test('an OCI archive with several images', async () => {
    await using test = await TestStore.open();
    const other = buildImage({ layers: image.layers, config: { Cmd: ['b'] } });
    const archive = tar(
      layoutEntries([
        ['example.com/app:1', image],
        ['latest', other],
      ]),
    );
    const records = await load(test, archive);
    expect(records.map(({ id, repoTags, repoDigests }) => [id, repoTags, repoDigests])).toEqual([
      [image.id, ['example.com/app:1'], []],
      [other.id, [], []],
    ]);
    const [top = ''] = test.store.layerPaths(records[0]!);
    expect(describeTree(top)).toEqual({ b: 'file 644 0:0 top' });
    expect(readdirSync(join(test.root, 'images/spool'))).toEqual([]);
  });

  test('what docker save writes', async () => {
    await using test = await TestStore.open();
    const [record] = await load(test, tar(dockerEntries()));
    expect(record?.repoTags).toEqual(['docker.io/library/tool:1', 'example.com/tool:2']);
    expect(describeTree(test.store.layerPaths(record!)[0]!)).toEqual({ f: 'file 644 0:0 docker' });
    expect((await test.store.find('tool:1'))?.id).toBe(record?.id);
  });

  test('compressed, and as a stream', async () => {
    await using test = await TestStore.open();
    const path = join(directory, 'archive.tar.gz');
    writeFileSync(path, gzipSync(tar(dockerEntries())));
    const [record] = await test.store.load(createReadStream(path), { signal: NEVER });
    expect(record?.repoTags).toHaveLength(2);
  });

  test.each<[string, (entries: TarFixtureEntry[]) => Buffer, string, string]>([
    [
      'no archive',
      () => Buffer.from('not a tar archive'.repeat(100)),
      'INVALID_ARGUMENT',
      'Cannot load image archive',
    ],
    [
      'an empty one',
      () => tar([]),
      'INVALID_ARGUMENT',
      'neither an "index.json" nor a "manifest.json"',
    ],
    ['a blob is missing', (entries) => tar(entries.slice(1)), 'INVALID_ARGUMENT', 'it has no'],
    [
      'a blob has another content',
      (entries) =>
        tar(
          entries.map((entry) =>
            entry.content instanceof Buffer
              ? { ...entry, content: Buffer.alloc(entry.content.length, 1) }
              : entry,
          ),
        ),
      'DATA_LOSS',
      'digest',
    ],
    ['cut short', (entries) => tar(entries).subarray(0, 700), 'INVALID_ARGUMENT', 'truncated'],
  ])('%s', async (_, make, code, reason) => {
    await using test = await TestStore.open();
    const entries = layoutEntries([['example.com/app:1', image]]);
    await expect(load(test, make(entries))).rejects.toMatchObject({
      code,
      message: expect.stringContaining(reason),
    });
    expect(readdirSync(join(test.root, 'images/spool'))).toEqual([]);
    expect(readdirSync(join(test.root, 'l'))).toEqual([]);
  });

  test('a layer that is hostile', async () => {
    await using test = await TestStore.open();
    const hostile = buildImage({ layers: [buildLayer([{ path: '../x' }])] });
    await expect(load(test, tar(layoutEntries([[undefined, hostile]])))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('"../x"'),
    });
  });
});

describe('save', () => {
  test.each(['oci', 'docker'] as const)(
    '%s, loaded elsewhere, is the same image',
    async (format) => {
      await using source = await TestStore.open({ keepBlobs: true });
      await using target = await TestStore.open();
      const record = await source.pull(`${registry.host}/saved:v1`);
      const path = await save(source, [record.id], format);
      // Other tools can read it.
      expect(execFileSync('tar', ['-tf', path], { encoding: 'utf8' })).toContain('blobs/sha256/');
      const [loaded] = await target.store.load(path, { signal: NEVER });
      expect([loaded?.id, loaded?.repoTags]).toEqual([record.id, record.repoTags]);
      expect(describeTree(target.store.layerPaths(loaded!)[1]!)).toEqual(
        describeTree(source.store.layerPaths(record)[1]!),
      );
    },
  );

  test('fetches layers that are not kept packed again', async () => {
    await using test = await TestStore.open();
    await test.pull(`${registry.host}/saved:v1`);
    const path = await save(test, [`${registry.host}/saved:v1`]);
    const names = execFileSync('tar', ['-tf', path], { encoding: 'utf8' });
    for (const { descriptor } of image.layers) expect(names).toContain(hex(descriptor.digest));
    await test.store.collectGarbage();
    expect(readdirSync(join(test.root, 'images/blobs'))).toHaveLength(2);
  });

  test('without the packed layers and without a registry', async () => {
    await using test = await TestStore.open();
    const [record] = await load(test, tar(layoutEntries([['example.com/app:1', image]])));
    await expect(save(test, [record!.id])).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining('not kept packed'),
    });
  });

  test('an image that is not here', async () => {
    await using test = await TestStore.open();
    const saving = test.store.save(['nothing'], { signal: NEVER });
    await expect(saving.next()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
