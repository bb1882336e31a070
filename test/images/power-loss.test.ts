import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { NEVER } from '../../src/base/index.ts';
import { unmount } from '../../src/linux/index.ts';
import { buildImage, buildLayer } from '../fixtures/image.ts';
import { ScriptedRegistry } from '../fixtures/scripted-registry.ts';
import { openStore } from './store-fixture.ts';

// A disk of its own for each test, in a file. What the file holds at some moment is what the
// disk would hold if the power went away then: the rest is in the memory of the kernel.

const CHILD = new URL('./store-child.ts', import.meta.url).pathname;
const files = Array.from({ length: 40 }, (_, index) => ({
  path: `app/file-${index}`,
  content: randomBytes(100 + index * 200),
}));
const image = buildImage({
  layers: [
    buildLayer([{ path: 'app/', type: 'directory' }, ...files]),
    buildLayer([
      { path: 'app/', type: 'directory' },
      { path: 'app/last', content: 'last' },
    ]),
  ],
});

let registry: ScriptedRegistry;
let reference: string;
let directory: string;
const mounted: string[] = [];

beforeAll(async () => {
  registry = await ScriptedRegistry.start();
  registry.add('app', 'latest', image);
  reference = `${registry.host}/app:latest`;
});
afterAll(() => registry?.[Symbol.asyncDispose]());
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keelson-power-'));
  const disk = join(directory, 'disk');
  execFileSync('truncate', ['-s', '64M', disk]);
  execFileSync('mkfs.ext4', ['-q', '-F', '-O', 'has_journal', disk]);
});
afterEach(() => {
  for (const path of mounted.splice(0)) unmount(path);
  rmSync(directory, { recursive: true, force: true });
});

function mountDisk(name: string): string {
  const path = join(directory, `${name}-mounted`);
  mkdirSync(path);
  // No commit by the clock: only what is asked for becomes durable.
  execFileSync('mount', ['-o', 'loop,commit=1000', join(directory, name), path]);
  mounted.push(path);
  return path;
}

/** Runs a pull or removal on a disk until a point of it, and answers the disk as it is then. */
async function cutPowerAt(point: string, action: 'pull' | 'remove'): Promise<string> {
  const root = mountDisk('disk');
  const run = (faultPoint: string, what: string) => {
    const child = spawn(process.execPath, [CHILD, root, what, reference], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, KEELSON_FAULT_POINT: faultPoint },
    });
    return new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)));
  };
  if (action === 'remove') expect(await run('', 'pull')).toBeNull();
  expect(await run(point, action)).toBe('SIGKILL');
  copyFileSync(join(directory, 'disk'), join(directory, 'after'));
  return mountDisk('after');
}

/** All images that a store answers are whole, to the last byte. Answers how many there are. */
async function verify(root: string): Promise<number> {
  await using store = await openStore(root);
  const images = store.list();
  for (const record of images) {
    const [top = '', base = ''] = store.layerPaths(record);
    expect(readFileSync(join(top, 'app/last'), 'utf8')).toBe('last');
    for (const { path, content } of files) {
      expect(readFileSync(join(base, path)).equals(content), path).toBe(true);
    }
  }
  await store.collectGarbage();
  await store.pull(reference, { signal: NEVER });
  return images.length;
}

test.each([
  ['pull/layer unpacked', 0],
  ['pull/layer committed', 0],
  ['pull/blobs written', 0],
  ['images/record written', 1],
  ['pull/image committed', 1],
])('the power goes away at "%s"', async (point, expected) => {
  const root = await cutPowerAt(point, 'pull');
  expect(await verify(root)).toBe(expected);
  expect(await verify(root)).toBe(1);
});

test.each(['images/record removed', 'images/marks removed'])(
  'the power goes away while an image is removed, at "%s"',
  async (point) => {
    const root = await cutPowerAt(point, 'remove');
    // Until the removal is flushed the image may be there again, but then it is whole.
    await verify(root);
    expect(await verify(root)).toBe(1);
  },
);
