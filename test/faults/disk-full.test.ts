import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ContainerState } from '../../src/gen/runtime/v1/api.ts';
import { ended, execIn, shell, statusOf } from '../cri/suite.ts';
import { busyboxImage, pushImage } from '../fixtures/image.ts';
import { type RegistryFixture, startRegistry } from '../fixtures/registry.ts';
import {
  containerConfig,
  createContainer,
  type Daemon,
  output,
  podConfig,
  runContainer,
  runPod,
  startDaemon,
} from '../harness/index.ts';
import { tracesOf } from '../recovery/traces.ts';
import { failureOf } from './failure.ts';

/** File systems of so many bytes, where the daemon keeps things. */
const SIZES = { root: '24m', state: '2m', logs: '1m' } as const;
type Place = keyof typeof SIZES;

let directory: string;
let registry: RegistryFixture;
let daemon: Daemon;
let image: string;
const at = (place: Place, ...names: string[]) => join(directory, place, ...names);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-full-'));
  for (const [place, size] of Object.entries(SIZES)) {
    await output('mkdir', join(directory, place));
    await output('mount', '-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', join(directory, place));
  }
  registry = await startRegistry();
  daemon = await startDaemon({ args: ['--root', at('root'), '--state', at('state')] });
  image = `${registry.host}/busybox:1`;
  await pushImage({ url: registry.url, repository: 'busybox' }, '1', busyboxImage());
});

afterEach(async () => {
  for (const place of Object.keys(SIZES)) await free(place as Place);
  await daemon.removePods();
});

afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  await registry?.stop();
  for (const place of Object.keys(SIZES)) await output('umount', join(directory, place));
  await rm(directory, { recursive: true });
});

/** Takes all space but so many bytes. */
async function fill(place: Place, but = 0): Promise<void> {
  const name = at(place, 'ballast');
  await output('dd', 'if=/dev/zero', `of=${name}`, 'bs=4096').catch(() => {});
  const { size } = await stat(name);
  await output('truncate', '-s', String(Math.max(0, size - but)), name);
}

async function free(place: Place): Promise<void> {
  await rm(at(place, 'ballast'), { force: true });
}

test('a pull that the disk has no room for leaves nothing but what it can resume', async () => {
  await fill('root', 512 << 10);
  const failure = await failureOf(daemon.images.pullImage({ image: { image } }));
  expect(failure).toMatch(/^RESOURCE_EXHAUSTED: Cannot pull image .*(ENOSPC|space)/);
  expect((await daemon.images.listImages()).images).toEqual([]);
  expect(await readdir(at('root', 'l'))).toEqual([]);
  expect(await readdir(at('root', 'images', 'layers'))).toEqual([]);
  await free('root');
  await daemon.images.pullImage({ image: { image } });
});

test('no room for an image whose layer is larger than the disk', async () => {
  const files = [{ path: 'zeros', content: Buffer.alloc(40 << 20) }];
  await pushImage({ url: registry.url, repository: 'large' }, '1', busyboxImage({ files }));
  const large = { image: { image: `${registry.host}/large:1` } };
  expect(await failureOf(daemon.images.pullImage(large))).toMatch(/^RESOURCE_EXHAUSTED: /);
  const { images } = await daemon.images.listImages();
  expect(images.map(({ repoTags }) => repoTags)).toEqual([[image]]);
  // What was unpacked of it went away again: the rest still works.
  const pod = await runPod(daemon);
  const id = await runContainer(daemon, pod, containerConfig(image));
  expect(
    await execIn(daemon, id, 'dd if=/dev/zero of=/mine bs=1024 count=4096 2>&1 && echo fits'),
  ).toContain('fits');
});

test('a container fills the disk: it gets an error, and the daemon goes on', async () => {
  const pod = await runPod(daemon);
  const id = await runContainer(daemon, pod, containerConfig(image));
  expect(await execIn(daemon, id, 'dd if=/dev/zero of=/mine bs=4096 2>&1 || true')).toContain(
    'No space left',
  );
  const { containerId } = await daemon.runtime
    .createContainer({
      podSandboxId: pod.id,
      config: containerConfig(image),
      sandboxConfig: pod.config,
    })
    .catch((error: { code: number; details: string }) => {
      expect(error.details).toMatch(/space|ENOSPC/);
      return { containerId: '' };
    });
  await daemon.runtime.removeContainer({ containerId: id });
  if (containerId !== '') await daemon.runtime.removeContainer({ containerId });
  await runContainer(daemon, pod, containerConfig(image));
});

test('no room for records: nothing is made, and the names are free afterwards', async () => {
  const pod = await runPod(daemon);
  const config = podConfig();
  const container = containerConfig(image);
  await fill('state');
  expect(await failureOf(daemon.runtime.runPodSandbox({ config }))).toMatch(
    /^RESOURCE_EXHAUSTED: .*ENOSPC/,
  );
  expect(await failureOf(createContainer(daemon, pod, container))).toMatch(
    /^RESOURCE_EXHAUSTED: .*ENOSPC/,
  );
  expect((await daemon.runtime.listPodSandbox()).items.map(({ id }) => id)).toEqual([pod.id]);
  expect(await readdir(at('state', 'sandboxes'))).toEqual([pod.id]);
  await free('state');
  const { podSandboxId } = await daemon.runtime.runPodSandbox({ config });
  const id = await runContainer(daemon, pod, container);
  expect(await execIn(daemon, id, 'echo lives')).toBe('lives');
  await daemon.removePods();
  expect(await tracesOf(daemon, [podSandboxId, pod.id, id])).toEqual([]);
});

test('no room for records while containers run: they go on, and can be ended once there is', async () => {
  const pod = await runPod(daemon);
  const id = await runContainer(daemon, pod, containerConfig(image));
  const created = await createContainer(daemon, pod, containerConfig(image));
  await fill('state');
  expect(await failureOf(daemon.runtime.startContainer({ containerId: created }))).toMatch(
    /^(OK|RESOURCE_EXHAUSTED)/,
  );
  expect((await statusOf(daemon, id)).state).toBe(ContainerState.CONTAINER_RUNNING);
  await daemon.kill9();
  await free('state');
  await daemon.start();
  expect(await execIn(daemon, id, 'echo lives')).toBe('lives');
  for (const containerId of [id, created]) {
    await daemon.runtime.stopContainer({ containerId, timeout: 0n }, { timeout: 25_000 });
    await daemon.runtime.removeContainer({ containerId });
  }
  await daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
  expect(await tracesOf(daemon, [pod.id, id, created])).toEqual([]);
});

test('no room for a log: the container goes on and its exit is told', async () => {
  const pod = await runPod(daemon, { logDirectory: at('logs', 'pod') });
  const config = containerConfig(
    image,
    shell(
      'i=0; while [ $i -lt 4000 ]; do echo "$i 0123456789012345678901234567890123456789"; i=$((i+1)); done; exit 3',
    ),
  );
  await fill('logs', 16 << 10);
  const id = await runContainer(daemon, pod, config);
  expect(await ended(daemon, id)).toMatchObject({ exitCode: 3 });
  const text = await readFile(join(pod.config.logDirectory, config.logPath), 'utf8');
  expect(text.length).toBeLessThanOrEqual(64 << 10);
  await free('logs');
  const after = containerConfig(image, shell('echo written'));
  expect(await ended(daemon, await runContainer(daemon, pod, after))).toMatchObject({
    exitCode: 0,
  });
  expect(await readFile(join(pod.config.logDirectory, after.logPath), 'utf8')).toContain('written');
  await writeFile(at('logs', 'ballast'), '');
});

test('no room for the log file itself', async () => {
  const pod = await runPod(daemon, { logDirectory: at('logs', 'pod2') });
  await output('mount', '-o', 'remount,ro', at('logs'));
  const failure = await failureOf(createContainer(daemon, pod, containerConfig(image)));
  await output('mount', '-o', 'remount,rw', at('logs'));
  expect(failure).toMatch(/^[A-Z_]+: Cannot create container .*(EROFS|read-only)/);
  expect((await daemon.runtime.listContainers()).containers).toEqual([]);
  await createContainer(daemon, pod, containerConfig(image));
});
