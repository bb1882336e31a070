import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NEVER, SILENT } from '../../src/base/index.ts';
import { ImageStore } from '../../src/oci/images/index.ts';
import { busyboxImage, pushImage } from '../fixtures/image.ts';
import { type RegistryFixture, startRegistry } from '../fixtures/registry.ts';

let registry: RegistryFixture;
let root: string;

beforeAll(async () => {
  registry = await startRegistry();
  root = await mkdtemp(join(tmpdir(), 'keelson-images-'));
});
afterAll(async () => {
  await registry?.stop();
  await rm(root, { recursive: true, force: true });
});

test('busybox is pulled', async () => {
  const image = busyboxImage();
  await pushImage({ url: registry.url, repository: 'busybox' }, '1', image);
  await using store = await ImageStore.open({ root, logger: SILENT, registry: {} });
  const record = await store.pull(`${registry.host}/busybox:1`, { signal: NEVER });
  expect(record.id).toBe(image.id);
  const [layer] = store.layerPaths(record);
  expect(await readFile(join(layer!, 'etc/group'), 'utf8')).toContain('root');
  expect(execFileSync(join(layer!, 'bin/echo'), ['hi']).toString()).toBe('hi\n');
  expect(store.usage().usedBytes).toBeGreaterThan(1e6);
});
