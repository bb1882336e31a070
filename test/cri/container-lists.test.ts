import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { ContainerState, MountPropagation } from '../../src/gen/runtime/v1/api.ts';
import { busyboxImage } from '../fixtures/image.ts';
import {
  containerConfig,
  createContainer,
  type Pod,
  runContainer,
  runPod,
} from '../harness/index.ts';
import { codeOf, criSuite, runToEnd, shell, statusOf } from './suite.ts';

const suite = criSuite();
const UNKNOWN_ID = randomBytes(32).toString('hex');
let pod: Pod;

beforeAll(async () => {
  pod = await runPod(suite.daemon);
});

test('the status of a container says what was asked', async () => {
  const { daemon, image } = suite;
  const config = containerConfig(image, {
    labels: { 'io.kubernetes.container.name': 'c', empty: '' },
    annotations: { 'io.kubernetes.container.hash': 'ab12', json: '{"a":[1]}' },
    image: { image, userSpecifiedImage: 'busybox' },
    metadata: { attempt: 2 },
    logPath: 'deep/er/0.log',
    mounts: [
      {
        containerPath: '/data',
        hostPath: `${daemon.directory}/data`,
        readonly: true,
        propagation: MountPropagation.PROPAGATION_PRIVATE,
      },
    ],
    linux: {
      resources: { cpuShares: 512n, memoryLimitInBytes: 64n << 20n, oomScoreAdj: 900n },
      securityContext: { runAsUser: { value: 1000n }, supplementalGroups: [7n] },
    },
  });
  const id = await createContainer(daemon, pod, config);
  const status = await statusOf(daemon, id);
  expect(status).toMatchObject({
    id,
    metadata: config.metadata,
    labels: config.labels,
    annotations: config.annotations,
    image: { image, userSpecifiedImage: 'busybox' },
    logPath: join(pod.config.logDirectory, 'deep/er/0.log'),
    mounts: config.mounts,
    resources: {
      linux: { cpuShares: 512n, memoryLimitInBytes: 64n << 20n, oomScoreAdj: 900n },
    },
    user: { linux: { uid: 1000n, gid: 0n, supplementalGroups: [0n, 7n] } },
  });
});

test('the image of a container has one id everywhere, and a digest as its reference', async () => {
  const { daemon, image } = suite;
  const { imageRef } = await daemon.images.pullImage({ image: { image } });
  const known = await daemon.images.imageStatus({ image: { image } });
  const id = await createContainer(daemon, pod, containerConfig(image));
  const status = await statusOf(daemon, id);
  const { containers } = await daemon.runtime.listContainers({ filter: { id } });
  expect(known.image!.id).toBe(imageRef);
  expect(status.imageId).toBe(imageRef);
  expect(containers[0]!.imageId).toBe(imageRef);
  expect(known.image!.repoDigests).toContain(status.imageRef);
  expect(containers[0]!.imageRef).toBe(status.imageRef);
});

test('a container is made from an image by id, by prefix of the id and by digest', async () => {
  const { daemon, image } = suite;
  const known = await daemon.images.imageStatus({ image: { image } });
  const { id, repoDigests } = known.image!;
  for (const name of [id, id.replace('sha256:', ''), repoDigests[0]!]) {
    const container = await createContainer(daemon, pod, containerConfig(name));
    const status = await statusOf(daemon, container);
    expect(status).toMatchObject({ imageId: id, image: { image: name } });
  }
});

test('verbose status tells process id, config and runtime spec as JSON', async () => {
  const { daemon, image } = suite;
  const containerId = await runContainer(daemon, pod, containerConfig(image));
  const { info } = await daemon.runtime.containerStatus({ containerId, verbose: true });
  const parsed = JSON.parse(info['info']!);
  expect(parsed.sandboxID).toBe(pod.id);
  expect(() => process.kill(parsed.pid, 0)).not.toThrow();
  expect(parsed.runtimeSpec.process.args).toEqual(['/bin/sleep', '1000000']);
  const plain = await daemon.runtime.containerStatus({ containerId });
  expect(plain.info).toEqual({});
});

test('lists are filtered by id, sandbox, state and labels, all together', async () => {
  const { daemon, image } = suite;
  const other = await runPod(daemon);
  const make = (tier: string) => containerConfig(image, { labels: { group: 'list', tier } });
  const created = await createContainer(daemon, other, make('a'));
  const running = await runContainer(daemon, other, make('b'));
  const elsewhere = await runContainer(daemon, pod, make('b'));
  const done = (await runToEnd(daemon, other, image, { ...make('c'), ...shell('true') })).status.id;
  const ids = async (filter: object) => {
    const { containers } = await daemon.runtime.listContainers({ filter });
    return containers.map((each) => each.id).sort();
  };
  const labelSelector = { group: 'list' };
  expect(await ids({ labelSelector })).toEqual([created, running, elsewhere, done].sort());
  expect(await ids({ labelSelector: { ...labelSelector, tier: 'b' } })).toEqual(
    [running, elsewhere].sort(),
  );
  expect(await ids({ labelSelector: { tier: 'z' } })).toEqual([]);
  expect(await ids({ podSandboxId: other.id })).toEqual([created, running, done].sort());
  expect(await ids({ podSandboxId: other.id.slice(0, 12), labelSelector })).toHaveLength(3);
  expect(await ids({ podSandboxId: UNKNOWN_ID })).toEqual([]);
  expect(await ids({ id: running })).toEqual([running]);
  expect(await ids({ id: running.slice(0, 12) })).toEqual([running]);
  expect(await ids({ id: UNKNOWN_ID })).toEqual([]);
  expect(await ids({ labelSelector, state: { state: 0 } })).toEqual([created]);
  expect(await ids({ labelSelector, state: { state: 1 } })).toEqual([running, elsewhere].sort());
  expect(await ids({ labelSelector, state: { state: 2 } })).toEqual([done]);
  expect(await ids({ id: running, state: { state: 2 } })).toEqual([]);
  const { containers } = await daemon.runtime.listContainers({ filter: { id: running } });
  expect(containers[0]).toMatchObject({
    id: running,
    podSandboxId: other.id,
    state: ContainerState.CONTAINER_RUNNING,
    labels: { group: 'list', tier: 'b' },
    image: { image },
  });
  expect(containers[0]!.createdAt).toBeGreaterThan(0n);
});

test('the status of an unknown id, of none, and by a prefix', async () => {
  const { daemon, image } = suite;
  const { runtime } = daemon;
  expect(await codeOf(runtime.containerStatus({ containerId: UNKNOWN_ID }))).toBe('NOT_FOUND');
  expect(await codeOf(runtime.containerStatus())).toBe('INVALID_ARGUMENT');
  const id = await createContainer(daemon, pod, containerConfig(image));
  expect((await statusOf(daemon, id.slice(0, 13))).id).toBe(id);
});

test('an image in use is removed by name; its containers go on', async () => {
  const { daemon } = suite;
  const reference = await suite.add('used', busyboxImage({ config: { Env: ['A=used'] } }));
  const config = containerConfig(reference, { command: ['/bin/sleep', '1000000'] });
  const containerId = await runContainer(daemon, pod, config);
  await daemon.images.removeImage({ image: { image: reference } });
  expect((await daemon.images.imageStatus({ image: { image: reference } })).image).toBeUndefined();
  expect(await codeOf(createContainer(daemon, pod, containerConfig(reference)))).toBe('NOT_FOUND');
  const { stdout } = await daemon.runtime.execSync({
    containerId,
    cmd: ['/bin/cat', '/etc/group'],
  });
  expect(stdout.toString()).toContain('root:x:0:');
  expect((await statusOf(daemon, containerId)).image!.image).toBe(reference);
});
