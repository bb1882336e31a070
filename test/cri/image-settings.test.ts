import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { failureOf } from '../faults/failure.ts';
import { busyboxImage, pushImage } from '../fixtures/image.ts';
import type { TarFixtureEntry } from '../fixtures/tar.ts';
import { containerConfig, runContainer, runPod } from '../harness/index.ts';
import { criSuite } from './suite.ts';

const ENTRIES = 300;
const suite = criSuite({
  config: `[images]
max_layer_entries = ${ENTRIES}
max_layer_size = "8MiB"
refuse_devices = true
pinned = ["*/busybox:?"]
`,
});

/** Pushes busybox with one more layer and answers how pulling it fails. */
async function pullWith(name: string, files: readonly TarFixtureEntry[]): Promise<string> {
  const target = { url: suite.registry.url, repository: name };
  await pushImage(target, '1', busyboxImage({ files, config: { Labels: { name } } }));
  const image = `${suite.registry.host}/${name}:1`;
  return failureOf(suite.daemon.images.pullImage({ image: { image } }));
}

const manyFiles = Array.from({ length: ENTRIES + 1 }, (_, i) => ({
  path: `file${i}`,
  content: '',
}));

test.each<[string, readonly TarFixtureEntry[], RegExp]>([
  ['too many entries', manyFiles, /^RESOURCE_EXHAUSTED: .*images\.max_layer_entries/],
  [
    'too many bytes',
    [{ path: 'large', content: Buffer.alloc(9 * 1024 * 1024) }],
    /^RESOURCE_EXHAUSTED: .*images\.max_layer_size/,
  ],
  ['a device node', [{ path: 'sda', type: 'block', major: 8 }], /^[A-Z_]+: .*"sda"/],
])('a layer with %s is refused by configuration', async (name, files, expected) => {
  expect(await pullWith(name.replaceAll(' ', '-'), files)).toMatch(expected);
  const { images } = await suite.daemon.images.listImages();
  expect(images.flatMap(({ repoTags }) => repoTags)).toEqual([suite.image]);
});

test('registries.conf is read when it changes, for pulls and wherever a name stands for an image', async () => {
  const { daemon, registry } = suite;
  const tool = busyboxImage({ config: { Labels: { name: 'tool' } } });
  await pushImage({ url: registry.url, repository: 'team/tool' }, '2', tool);
  const full = `${registry.host}/team/tool:2`;
  const conf = (text: string) => writeFile(daemon.paths.registriesConf, text);
  await conf(
    `unqualified-search-registries = ["${registry.host}"]\n[aliases]\nnick = "${registry.host}/team/tool"\n`,
  );
  await daemon.images.pullImage({ image: { image: 'nick:2' } });
  for (const image of ['nick:2', 'team/tool:2', full]) {
    const status = await daemon.images.imageStatus({ image: { image } });
    expect(status.image?.repoTags, image).toEqual([full]);
    const { images } = await daemon.images.listImages({ filter: { image: { image } } });
    expect(
      images.map(({ id }) => id),
      image,
    ).toEqual([status.image?.id]);
  }
  const id = await runContainer(daemon, await runPod(daemon), containerConfig('nick:2'));
  const { status } = await daemon.runtime.containerStatus({ containerId: id });
  expect(status?.imageRef).toBe(`${registry.host}/team/tool@${tool.descriptor.digest}`);
  await conf('');
  expect((await daemon.images.imageStatus({ image: { image: 'nick:2' } })).image).toBeUndefined();
  await conf(`[[registry]]\nlocation = "${registry.host}"\nblocked = true\n`);
  expect(await failureOf(daemon.images.pullImage({ image: { image: full } }))).toMatch(/blocks/);
  await conf(`unqualified-search-registries = ["${registry.host}"]\n`);
  await daemon.images.removeImage({ image: { image: 'team/tool:2' } });
  expect((await daemon.images.imageStatus({ image: { image: full } })).image).toBeUndefined();
});

test('an image that the configuration pins says so, others do not', async () => {
  const { image } = await suite.daemon.images.imageStatus({ image: { image: suite.image } });
  expect(image?.pinned).toBe(true);
  const other = await suite.add('other', busyboxImage({ files: [{ path: 'x', content: 'x' }] }));
  const status = await suite.daemon.images.imageStatus({ image: { image: other } });
  expect(status.image?.pinned).toBe(false);
});
