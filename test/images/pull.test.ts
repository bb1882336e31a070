import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NEVER } from '../../src/base/index.ts';
import type { ImageRecord } from '../../src/oci/images/index.ts';
import { buildArtifact } from '../fixtures/artifact.ts';
import {
  buildImage,
  buildIndex,
  buildLayer,
  busyboxImage,
  type FixtureImage,
  type FixtureLayer,
  hostFixturePlatform,
  pushImage,
  pushManifest,
} from '../fixtures/image.ts';
import { type RegistryFixture, startRegistry } from '../fixtures/registry.ts';
import { withOverlay } from './layer-fixture.ts';
import { TestStore } from './store-fixture.ts';

let registry: RegistryFixture;
let unique = 0;

beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry?.stop());

/** A repository of its own for each use. */
function repository() {
  const name = `test/repo-${unique++}`;
  return { name: `${registry.host}/${name}`, target: { url: registry.url, repository: name } };
}

async function push(image: FixtureImage, tag: string | undefined = 'latest'): Promise<string> {
  const { name, target } = repository();
  await pushImage(target, tag, image);
  return name;
}

function simpleImage(text: string): FixtureImage {
  return buildImage({ layers: [buildLayer([{ path: 'file', content: text }])] });
}

describe('formats', () => {
  test.each([
    ['OCI, gzip', 'gzip', false],
    ['OCI, zstd', 'zstd', false],
    ['OCI, plain', 'none', false],
    ['Docker, gzip', 'gzip', true],
    ['Docker, zstd', 'zstd', true],
    ['Docker, plain', 'none', true],
  ] as const)('%s', async (_, compression, docker) => {
    await using test = await TestStore.open();
    const layers = [
      buildLayer([{ path: 'a', content: 'lower' }, { path: 'b' }], { compression, docker }),
      buildLayer([{ path: 'a', content: 'upper' }, { path: '.wh.b' }], { compression, docker }),
    ];
    const image = buildImage({ layers, docker, config: { User: '1000:1000', Cmd: ['sh'] } });
    const name = await push(image);
    const record = await test.pull(name);
    expect(record.id).toBe(image.id);
    expect(record.repoTags).toEqual([`${name}:latest`]);
    expect(record.repoDigests).toEqual([`${name}@${image.descriptor.digest}`]);
    expect(record.config.config).toMatchObject({ User: '1000:1000', Cmd: ['sh'] });
    expect(record.layers.map(({ diffId }) => diffId)).toEqual(layers.map(({ diffId }) => diffId));
    const paths = test.store.layerPaths(record);
    await withOverlay(paths.toReversed(), test.root, (merged) => {
      expect(readFileSync(join(merged, 'a'), 'utf8')).toBe('upper');
      expect(existsSync(join(merged, 'b'))).toBe(false);
    });
  });

  test('busybox, whose program runs', async () => {
    await using test = await TestStore.open();
    const record = await test.pull(await push(busyboxImage()));
    const [layer = ''] = test.store.layerPaths(record);
    expect(execFileSync(join(layer, 'bin/echo'), ['hi']).toString()).toBe('hi\n');
  });

  test('lower directories have short paths', async () => {
    await using test = await TestStore.open();
    const [path = ''] = test.store.layerPaths(await test.pull(await push(simpleImage('short'))));
    expect(path.length - test.root.length).toBeLessThanOrEqual(10);
  });

  test('an index, by platform, with attestations beside', async () => {
    await using test = await TestStore.open({
      platform: { os: 'linux', architecture: 'amd64', variant: 'v3' },
    });
    const { name, target } = repository();
    const platforms = ['arm64', 'amd64', 'amd64/v2', 'amd64/v4'];
    const images = platforms.map((platform) => {
      const [architecture = '', variant] = platform.split('/');
      const image = simpleImage(platform);
      const described = { os: 'linux', architecture, ...(variant ? { variant } : {}) };
      return { image, entry: { ...image.descriptor, platform: described } };
    });
    for (const { image } of images) await pushImage(target, undefined, image);
    // Build attestations come as manifests for a platform that nobody has.
    const unknown = simpleImage('attestation');
    await pushImage(target, undefined, unknown);
    const attestation = {
      ...unknown.descriptor,
      platform: { os: 'unknown', architecture: 'unknown' },
    };
    const inner = buildIndex([attestation, ...images.map(({ entry }) => entry)], { docker: true });
    await pushManifest(target, inner.descriptor.digest, {
      content: inner.content,
      mediaType: inner.descriptor.mediaType,
    });
    const outer = buildIndex([inner.descriptor]);
    const digest = await pushManifest(target, 'multi', {
      content: outer.content,
      mediaType: outer.descriptor.mediaType,
    });
    const record = await test.pull(`${name}:multi`);
    expect(record.id).toBe(images[2]?.image.id);
    expect(record.repoDigests).toEqual([`${name}@${digest}`]);
    expect(record.manifestDigest).toBe(images[2]?.image.descriptor.digest);
  });

  test('an index without this platform', async () => {
    await using test = await TestStore.open({ platform: { os: 'linux', architecture: 'riscv64' } });
    const { name, target } = repository();
    const image = simpleImage('amd64');
    await pushImage(target, undefined, image);
    const index = buildIndex([{ ...image.descriptor, platform: hostFixturePlatform() }]);
    await pushManifest(target, 'multi', {
      content: index.content,
      mediaType: index.descriptor.mediaType,
    });
    await expect(test.pull(`${name}:multi`)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining(
        `none is for linux/riscv64; it has linux/${hostFixturePlatform().architecture}`,
      ),
    });
  });

  test('an index whose entries do not say their platform', async () => {
    await using test = await TestStore.open();
    const { name, target } = repository();
    const foreign = buildImage({
      layers: simpleImage('s390x').layers,
      platform: { os: 'linux', architecture: 's390x' },
    });
    const own = simpleImage('own');
    for (const image of [foreign, own]) await pushImage(target, undefined, image);
    const index = buildIndex([foreign.descriptor, own.descriptor]);
    await pushManifest(target, 'multi', {
      content: index.content,
      mediaType: index.descriptor.mediaType,
    });
    expect((await test.pull(`${name}:multi`)).id).toBe(own.id);
  });

  test('no layers, the same layer twice, and one layer in two images', async () => {
    await using test = await TestStore.open();
    const empty = await test.pull(await push(buildImage({ layers: [] })));
    const [nothing = ''] = test.store.layerPaths(empty);
    expect(readdirSync(nothing)).toEqual([]);
    expect(empty.size).toBeGreaterThan(0);

    const layer = buildLayer([{ path: 'f', content: 'shared' }]);
    const twice = await test.pull(await push(buildImage({ layers: [layer, layer] })));
    expect(test.store.layerPaths(twice)).toHaveLength(1);
    const before = test.store.usage();
    const other = await test.pull(
      await push(buildImage({ layers: [layer], config: { Cmd: ['x'] } })),
    );
    expect(test.store.layerPaths(other)).toEqual(test.store.layerPaths(twice));
    expect(test.store.usage().usedBytes - before.usedBytes).toBeLessThanOrEqual(3 * 4096);
  });

  test('foreign layers are left out where that is wanted, and nothing stands for them', async () => {
    const [below, foreign, above] = ['below', 'foreign', 'above'].map((content) =>
      buildLayer([{ path: `etc/${content}`, content }]),
    ) as [FixtureLayer, FixtureLayer, FixtureLayer];
    const all = [below, foreign, above];
    const target = { url: registry.url, repository: 'foreign' };
    await pushImage(target, 'other', buildImage({ layers: all, config: { Labels: { a: 'b' } } }));
    await pushImage(target, 'whole', buildImage({ layers: all }));
    const mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
    const marked = { ...foreign, descriptor: { ...foreign.descriptor, mediaType } };
    const lacking = buildImage({ layers: [below, marked, above] });
    await pushImage(target, 'lacking', lacking);
    const name = `${registry.host}/foreign`;
    await using test = await TestStore.open();
    await expect(test.pull(`${name}:lacking`)).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      message: expect.stringContaining('images.foreign_layers'),
    });
    await test.reopen({ foreignLayers: 'skip' });
    const skipped = await test.pull(`${name}:lacking`);
    const complete = await test.pull(`${name}:other`);
    const filesOf = (record: ImageRecord) =>
      test.store.layerPaths(record).flatMap((path) => readdirSync(join(path, 'etc')));
    expect([filesOf(skipped), filesOf(complete)]).toEqual([
      ['above', 'below'],
      ['above', 'foreign', 'below'],
    ]);
    // The layer above takes its directory from what is below it: one for each stack.
    expect(skipped.layers.at(-1)?.id).not.toBe(complete.layers.at(-1)?.id);
    const saving = test.store.save([`${name}:lacking`], { signal: NEVER });
    await expect(saving.next()).rejects.toMatchObject({
      message: expect.stringContaining('may not be distributed'),
    });
    // The same image, marked otherwise: once it is whole it stays so.
    const filled = await test.pull(`${name}:whole`);
    await test.store.remove(`${name}:other`);
    await test.reopen();
    await pushImage(
      target,
      'again',
      buildImage({ layers: [below, marked, above], annotations: { a: 'b' } }),
    );
    const again = await test.pull(`${name}:again`);
    expect([filled.id, again.id]).toEqual([skipped.id, skipped.id]);
    expect(filesOf(again)).toEqual(['above', 'foreign', 'below']);
  });

  test('an artifact is its files', async () => {
    await using test = await TestStore.open();
    const { name, target } = repository();
    const files = { 'model/weights.bin': 'weights', 'model.json': '{"a":1}' };
    const digest = await pushImage(target, 'model', buildArtifact(files));
    const record = await test.pull(`${name}:model`);
    expect([record.kind, record.id]).toEqual(['artifact', digest]);
    await withOverlay(test.store.layerPaths(record).toReversed(), test.root, (merged) => {
      expect(readFileSync(join(merged, 'model/weights.bin'), 'utf8')).toBe('weights');
      expect(readFileSync(join(merged, 'model.json'), 'utf8')).toBe('{"a":1}');
    });
    await test.reopen();
    expect((await test.store.find(`${name}:model`))?.id).toBe(digest);
  });
});

describe('names', () => {
  test('one image by several names, and the ways to find it', async () => {
    await using test = await TestStore.open();
    const image = simpleImage('names');
    const { name, target } = repository();
    await pushImage(target, 'a', image);
    await pushImage(target, 'b', image);
    const other = await push(image, 'c');
    await test.pull(`${name}:a`);
    await test.pull(`${name}:b`);
    const record = await test.pull(`${other}:c`);
    expect(test.store.list()).toHaveLength(1);
    expect(record.repoTags).toEqual([`${name}:a`, `${name}:b`, `${other}:c`]);
    const { digest } = image.descriptor;
    expect(record.repoDigests).toEqual([`${name}@${digest}`, `${other}@${digest}`]);
    const hex = image.id.slice('sha256:'.length);
    for (const way of [
      image.id,
      hex,
      hex.slice(0, 12),
      `sha256:${hex.slice(0, 12)}`,
      `${name}:b`,
      `${name}@${digest}`,
      `${name}:ignored@${digest}`,
    ]) {
      expect((await test.store.find(way))?.id, way).toBe(image.id);
    }
    for (const way of [
      `${name}:missing`,
      name,
      'f'.repeat(64),
      hex.slice(0, 2),
      `${registry.host}/else@${digest}`,
      '',
      '::',
    ]) {
      expect(await test.store.find(way), way).toBeUndefined();
    }
    await test.store.remove(`${name}:a`);
    expect(test.store.list()).toEqual([]);
    await test.store.remove(`${name}:a`);
  });

  test('a tag moves to another image', async () => {
    await using test = await TestStore.open();
    const { name, target } = repository();
    const [first, second] = [simpleImage('first'), simpleImage('second')];
    await pushImage(target, 'latest', first);
    await test.pull(name);
    await pushImage(target, 'latest', second);
    expect((await test.pull(name)).id).toBe(second.id);
    await test.reopen();
    expect((await test.store.find(first.id))?.repoTags).toEqual([]);
    expect((await test.store.find(first.id))?.repoDigests).toEqual([
      `${name}@${first.descriptor.digest}`,
    ]);
    expect((await test.store.find(second.id))?.repoTags).toEqual([`${name}:latest`]);
  });

  test('by digest, and by tag and digest, of which the digest counts', async () => {
    await using test = await TestStore.open();
    const { name, target } = repository();
    const [first, second] = [simpleImage('1st'), simpleImage('2nd')];
    await pushImage(target, 'latest', first);
    await pushImage(target, 'latest', second);
    const record = await test.pull(`${name}:latest@${first.descriptor.digest}`);
    expect([record.id, record.repoTags]).toEqual([first.id, []]);
    expect((await test.pull(`${name}@${first.descriptor.digest}`)).id).toBe(first.id);
  });

  test('pinned images', async () => {
    await using test = await TestStore.open({ pinned: [`${registry.host}/test/*:keep`] });
    const keep = await test.pull(`${await push(simpleImage('keep'), 'keep')}:keep`);
    const drop = await test.pull(await push(simpleImage('drop')));
    expect([keep.pinned, drop.pinned]).toEqual([true, false]);
  });

  test.each(['Busybox', 'a'.repeat(64), 'x@sha256:12', '../x', 'host:port/x', ''])(
    '"%s" is no reference',
    async (name) => {
      await using test = await TestStore.open();
      await expect(test.pull(name)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    },
  );
});

describe('calls', () => {
  test('many for one image share one pull, and progress is told to all', async () => {
    await using test = await TestStore.open();
    const name = await push(busyboxImage());
    const seen: string[][] = [[], []];
    const pulls = [0, 1].map((index) =>
      test.pull(name, {
        onProgress: (progress) => {
          expect(progress.reference).toBe(name);
          seen[index]?.push(progress.phase);
          for (const layer of progress.layers)
            expect(layer.downloaded).toBeLessThanOrEqual(layer.size);
        },
      }),
    );
    expect(test.store.pulls()).toHaveLength(1);
    const [a, b] = await Promise.all(pulls);
    expect(a?.id).toBe(b?.id);
    expect(seen.map((phases) => [phases[0], phases.at(-1)])).toEqual([
      ['resolving', 'done'],
      ['resolving', 'done'],
    ]);
    expect(readdirSync(join(test.root, 'l'))).toHaveLength(1);
    expect(test.store.pulls()).toEqual([]);
  });

  test('one gives up, the other gets the image', async () => {
    await using test = await TestStore.open();
    const name = await push(busyboxImage());
    const abort = new AbortController();
    const first = test.pull(name, { signal: abort.signal });
    const second = test.pull(name);
    abort.abort();
    await expect(first).rejects.toMatchObject({ code: 'CANCELLED' });
    expect((await second).repoTags).toEqual([`${name}:latest`]);
  });

  test('a deadline that is over at once', async () => {
    await using test = await TestStore.open();
    const name = await push(busyboxImage());
    const pull = test.pull(name, { signal: AbortSignal.timeout(1) });
    await expect(pull).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await test.pull(name);
  });

  test('two images with layers in common at the same time', async () => {
    await using test = await TestStore.open();
    const base = buildLayer([{ path: 'big', content: Buffer.alloc(5_000_000, 'b') }]);
    const images = [1, 2, 3].map((n) =>
      buildImage({ layers: [base, buildLayer([{ path: 'dir/x', content: `${n}` }]), base] }),
    );
    const names = await Promise.all(images.map((image) => push(image)));
    const records = await Promise.all(names.map((name) => test.pull(name)));
    expect(records.map(({ id }) => id)).toEqual(images.map(({ id }) => id));
    expect(readdirSync(join(test.root, 'l'))).toHaveLength(4);
  });
});

describe('credentials', () => {
  let closed: RegistryFixture;
  let name: string;
  const headers = { authorization: `Basic ${Buffer.from('user:secret').toString('base64')}` };
  beforeAll(async () => {
    // bcrypt of "secret".
    const htpasswd = 'user:$2b$05$AwPmsMD/eWK1ghfpcLqVXeimZ/U5kGyJhLs335ZtTBtrLTbwEuJUC';
    closed = await startRegistry({ htpasswd });
    name = `${closed.host}/private`;
    await pushImage(
      { url: closed.url, repository: 'private', headers },
      'latest',
      simpleImage('private'),
    );
  });
  afterAll(() => closed?.stop());

  test.each([
    ['name and password', { username: 'user', password: 'secret' }],
    ['auth', { auth: Buffer.from('user:secret').toString('base64') }],
    [
      'for this server',
      () => ({ username: 'user', password: 'secret', serverAddress: `http://${closed.host}/v2/` }),
    ],
  ])('%s', async (_, credentials) => {
    await using test = await TestStore.open();
    const given = typeof credentials === 'function' ? credentials() : credentials;
    expect((await test.pull(name, { credentials: given })).repoTags).toEqual([`${name}:latest`]);
  });

  test.each([
    ['none', undefined],
    ['wrong ones', { username: 'user', password: 'wrong' }],
    [
      'those of another server',
      { username: 'user', password: 'secret', serverAddress: 'example.com' },
    ],
  ])('%s', async (_, credentials) => {
    await using test = await TestStore.open();
    const error = await test
      .pull(name, credentials === undefined ? {} : { credentials })
      .catch((e: Error) => e);
    expect(error).toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(String(error)).not.toContain('wrong');
  });
});

test('the space is accounted as it is measured', async () => {
  await using test = await TestStore.open();
  await test.pull(await push(busyboxImage({ files: [{ path: 'tmp/x', content: 'y' }] })));
  const used = test.store.usage();
  const measure = (...args: string[]) =>
    Number(
      execFileSync('du', ['-s', ...args, join(test.root, 'l'), join(test.root, 'images/blobs')], {
        encoding: 'utf8',
      })
        .trim()
        .split('\n')
        .reduce((sum, line) => sum + Number(line.split('\t')[0]), 0),
    );
  // The directories that hold layers and blobs are not images'.
  expect(used.usedBytes).toBe(measure('-B1') - 2 * 4096);
  expect(used.inodesUsed).toBe(measure('--inodes') - 2);
  expect(statSync(used.mountpoint).isDirectory()).toBe(true);
});
