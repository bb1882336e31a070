import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Logger, NEVER, SILENT } from '../../src/base/index.ts';
import type { ImageStore } from '../../src/oci/images/index.ts';
import { buildImage, buildLayer, type FixtureImage, pushImage } from '../fixtures/image.ts';
import { type RegistryFixture, startRegistry } from '../fixtures/registry.ts';
import { openStore } from './store-fixture.ts';

const CHILD = new URL('./store-child.ts', import.meta.url).pathname;

let registry: RegistryFixture;
let root: string;
const images: FixtureImage[] = [1, 2].map((n) =>
  buildImage({
    layers: [
      buildLayer([
        { path: 'base/', type: 'directory' },
        { path: 'base/f', content: 'shared' },
      ]),
      buildLayer([{ path: 'base/g', content: randomBytes(300_000 * n) }]),
    ],
  }),
);
let reference: string;

beforeAll(async () => {
  registry = await startRegistry();
  reference = `${registry.host}/app:latest`;
});
afterAll(() => registry?.stop());
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'keelson-recovery-'));
  await push(images[0]!);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const push = (image: FixtureImage) =>
  pushImage({ url: registry.url, repository: 'app' }, 'latest', image);

/** Runs the child, answers the signal that ended it. */
function runChild(action: 'pull' | 'remove', faultPoint?: string): Promise<string | null> {
  const child = spawn(process.execPath, [CHILD, root, action, reference], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, KEELSON_FAULT_POINT: faultPoint ?? '' },
  });
  return new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)));
}

/** Whatever happened before: what is there is whole, and what is not whole is not there. */
async function verify(store: ImageStore): Promise<void> {
  const used = new Set<string>();
  for (const image of store.list()) {
    const [top = ''] = store.layerPaths(image);
    expect(readFileSync(join(top, 'base/g')).length % 300_000).toBe(0);
    for (const layer of image.layers) used.add(layer.id);
  }
  await store.collectGarbage();
  expect(new Set(readdirSync(join(root, 'l')))).toEqual(used);
  expect(readdirSync(join(root, 'images/aside'))).toEqual([]);
  expect(readdirSync(join(root, 'images/blobs'))).toHaveLength(store.list().length * 2);
}

describe('killed while pulling', () => {
  test.each([
    ['pull/blob downloaded', 0],
    ['pull/layer unpacked', 0],
    ['pull/layer committed', 0],
    ['pull/blobs written', 0],
    ['images/record written', 1],
    ['pull/image committed', 1],
  ])('at "%s"', async (faultPoint, expected) => {
    expect(await runChild('pull', faultPoint)).toBe('SIGKILL');
    const store = await openStore(root);
    try {
      expect(store.list()).toHaveLength(expected);
      await verify(store);
      expect((await store.pull(reference, { signal: NEVER })).id).toBe(images[0]!.id);
      await verify(store);
    } finally {
      await store[Symbol.asyncDispose]();
    }
  });

  test('at any moment, again and again', async () => {
    for (let milliseconds = 40; milliseconds < 600; milliseconds += 70) {
      const child = spawn(process.execPath, [CHILD, root, 'pull', reference], { stdio: 'ignore' });
      const ended = new Promise((resolve) => child.once('exit', resolve));
      const timer = setTimeout(() => child.kill('SIGKILL'), milliseconds);
      await ended;
      clearTimeout(timer);
      const store = await openStore(root);
      await verify(store);
      await store.remove(reference);
      await store[Symbol.asyncDispose]();
    }
  });
});

test('killed between two records, a tag belongs to the later image', async () => {
  expect(await runChild('pull')).toBeNull();
  await push(images[1]!);
  expect(await runChild('pull', 'images/record written')).toBe('SIGKILL');
  const store = await openStore(root);
  expect((await store.find(reference))?.id).toBe(images[1]!.id);
  expect((await store.find(images[0]!.id))?.repoTags).toEqual([]);
  await store[Symbol.asyncDispose]();
});

test.each(['images/record removed', 'images/marks removed', 'images/layer in trash'])(
  'killed while removing, at "%s"',
  async (faultPoint) => {
    await runChild('pull');
    expect(await runChild('remove', faultPoint)).toBe('SIGKILL');
    const store = await openStore(root);
    expect(store.list()).toEqual([]);
    await verify(store);
    await store.pull(reference, { signal: NEVER });
    await store[Symbol.asyncDispose]();
    expect(readdirSync(join(root, 'images/trash'))).toEqual([]);
  },
);

describe('damaged on disk', () => {
  let messages: string[];
  const logger: Logger = { ...SILENT, error: (_, message) => void messages.push(message) };
  beforeEach(async () => {
    messages = [];
    await runChild('pull');
  });
  const only = (directory: string) => {
    const names = readdirSync(join(root, 'images', directory));
    return join(root, 'images', directory, names[0]!);
  };

  test.each<[string, () => void]>([
    ['a record that is no JSON', () => writeFileSync(only('records'), '{')],
    ['a record of another shape', () => writeFileSync(only('records'), '{"version":2}')],
    ['a record whose layers are gone', () => rmSync(join(root, 'l'), { recursive: true })],
    [
      'a record whose configuration is gone',
      () => rmSync(join(root, 'images/blobs'), { recursive: true }),
    ],
    [
      'blobs with other content',
      () => {
        for (const name of readdirSync(join(root, 'images/blobs')))
          writeFileSync(join(root, 'images/blobs', name), '{}');
      },
    ],
  ])('%s does not stop the store', async (_, damage) => {
    damage();
    const store = await openStore(root, { logger });
    try {
      expect(store.list()).toEqual([]);
      expect(messages).toEqual([expect.stringContaining('setting it aside')]);
      expect(readdirSync(join(root, 'images/aside'))).toHaveLength(1);
      await store.collectGarbage();
      expect((await store.pull(reference, { signal: NEVER })).id).toBe(images[0]!.id);
    } finally {
      await store[Symbol.asyncDispose]();
    }
  });

  test('a commit mark that is no JSON takes its image with it', async () => {
    writeFileSync(only('layers'), '');
    const store = await openStore(root, { logger });
    expect(store.list()).toEqual([]);
    expect(messages).toHaveLength(2);
    expect((await store.pull(reference, { signal: NEVER })).id).toBe(images[0]!.id);
    await store[Symbol.asyncDispose]();
  });
});

test('what was written is accounted after a restart as before', async () => {
  let store = await openStore(root);
  await store.pull(reference, { signal: NEVER });
  const before = store.usage();
  await store[Symbol.asyncDispose]();
  store = await openStore(root);
  expect(store.usage()).toEqual(before);
  await store[Symbol.asyncDispose]();
  expect(execFileSync('ls', [join(root, 'images/trash')]).toString()).toBe('');
});
