import { randomBytes } from 'node:crypto';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { expect, test } from 'vitest';
import { criSuite, execIn } from '../cri/suite.ts';
import { failureOf } from '../faults/failure.ts';
import { busyboxImage, type FixtureImage, pushImage } from '../fixtures/image.ts';
import {
  containerConfig,
  createContainer,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { faultPointsIn } from './fault-points.ts';

const suite = criSuite();
const points = faultPointsIn('oci/images').filter((point) => point.startsWith('pull/'));

/** Two layers of its own beside that of busybox, so that some are there and some are not. */
function largeImage(): FixtureImage {
  return busyboxImage({
    files: [
      { path: 'data', content: randomBytes(200_000) },
      { path: 'etc/motd', content: 'whole\n' },
    ],
  });
}

async function push(name: string, image: FixtureImage): Promise<string> {
  await pushImage({ url: suite.registry.url, repository: name }, '1', image);
  return `${suite.registry.host}/${name}:1`;
}

/** What the store holds, by directory. */
async function stored(): Promise<Record<string, number>> {
  const { root } = suite.daemon.paths;
  const kinds = ['l', 'layers', 'records', 'blobs', 'partial', 'trash', 'spool'];
  const counts = kinds.map(async (kind) => {
    const names = await readdir(kind === 'l' ? join(root, kind) : join(root, 'images', kind));
    return [kind, names.length] as const;
  });
  return Object.fromEntries(await Promise.all(counts));
}

async function expectRuns(image: string): Promise<void> {
  const { daemon } = suite;
  const pod = await runPod(daemon);
  const id = await runContainer(daemon, pod, containerConfig(image));
  expect(await execIn(daemon, id, 'cat /etc/motd; wc -c < /data')).toBe('whole\n200000');
  await daemon.removePods();
}

test('the points where a pull is interrupted are known', () => {
  expect(points.length).toBeGreaterThanOrEqual(4);
});

test.each(points)('a crash after "%s": the image is whole or not there', async (point) => {
  const { daemon } = suite;
  const before = await stored();
  const fixture = largeImage();
  const image = await push(point.replace(/[^a-z]/g, '-'), fixture);
  await daemon.kill9();
  await daemon.start({ env: { KEELSON_FAULT_POINT: point } });
  expect(await failureOf(daemon.images.pullImage({ image: { image } }))).toMatch(/^UNAVAILABLE/);
  expect(await daemon.exited()).toBe('SIGKILL');
  await daemon.start();
  const { image: found } = await daemon.images.imageStatus({ image: { image } });
  if (found === undefined) await daemon.images.pullImage({ image: { image } });
  else expect(found.id).toBe(fixture.id);
  await expectRuns(image);
  await daemon.images.removeImage({ image: { image } });
  await waitFor('the collection', async () => isDeepStrictEqual(await stored(), before)).catch(
    () => {},
  );
  expect(await stored()).toEqual(before);
});

test('a layer that vanished: creating a container fails, and pulling again mends it', async () => {
  const { daemon } = suite;
  const { root } = daemon.paths;
  const known = new Set(await readdir(join(root, 'l')));
  const image = await push('vanished', largeImage());
  await daemon.images.pullImage({ image: { image } });
  const layer = (await readdir(join(root, 'l'))).find((name) => !known.has(name))!;
  await rm(join(root, 'l', layer), { recursive: true });
  const pod = await runPod(daemon);
  const failure = await failureOf(createContainer(daemon, pod, containerConfig(image)));
  expect(failure).toMatch(/^[A-Z_]+: Cannot create container "container-/);
  expect((await daemon.runtime.listContainers()).containers).toEqual([]);
  await daemon.removePods();
  await daemon.kill9();
  await daemon.start();
  await daemon.images.pullImage({ image: { image } });
  await expectRuns(image);
});

test('a layer that vanished under a running container keeps nobody from removing it', async () => {
  const { daemon } = suite;
  const known = new Set(await readdir(join(daemon.paths.root, 'l')));
  const image = await push('pulled-away', largeImage());
  await daemon.images.pullImage({ image: { image } });
  const pod = await runPod(daemon);
  await runContainer(daemon, pod, containerConfig(image));
  const layers = await readdir(join(daemon.paths.root, 'l'));
  await daemon.kill9();
  for (const name of layers.filter((each) => !known.has(each))) {
    await rm(join(daemon.paths.root, 'l', name), { recursive: true });
  }
  await daemon.start();
  await daemon.removePods();
  await daemon.images.pullImage({ image: { image } });
  await expectRuns(image);
});

test('an image record that cannot be read is set aside, and the image can be pulled again', async () => {
  const { daemon } = suite;
  const fixture = largeImage();
  const image = await push('damaged', fixture);
  await daemon.images.pullImage({ image: { image } });
  await daemon.kill9();
  const record = join(
    daemon.paths.root,
    'images/records',
    `${fixture.id.replace('sha256:', '')}.json`,
  );
  await writeFile(record, '{ "half a rec');
  await daemon.start();
  expect((await daemon.images.imageStatus({ image: { image } })).image).toBeUndefined();
  expect(await readdir(join(daemon.paths.root, 'images/aside'))).not.toEqual([]);
  await daemon.images.pullImage({ image: { image } });
  await expectRuns(image);
});
