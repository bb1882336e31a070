import { expect, test } from 'vitest';
import { failureOf } from '../faults/failure.ts';
import { busyboxImage, pushImage } from '../fixtures/image.ts';
import type { TarFixtureEntry } from '../fixtures/tar.ts';
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

test('an image that the configuration pins says so, others do not', async () => {
  const { image } = await suite.daemon.images.imageStatus({ image: { image: suite.image } });
  expect(image?.pinned).toBe(true);
  const other = await suite.add('other', busyboxImage({ files: [{ path: 'x', content: 'x' }] }));
  const status = await suite.daemon.images.imageStatus({ image: { image: other } });
  expect(status.image?.pinned).toBe(false);
});
