import { beforeAll, expect, test } from 'vitest';
import {
  containerConfig,
  createContainer,
  type Pod,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { criSuite } from './suite.ts';

const suite = criSuite();
let pod: Pod;
let containerId: string;

beforeAll(async () => {
  pod = await runPod(suite.daemon, { labels: { app: 'measured' } });
  containerId = await runContainer(
    suite.daemon,
    pod,
    containerConfig(suite.image, {
      command: [
        'sh',
        '-c',
        'dd if=/dev/zero of=/big bs=1M count=5; touch /written; while :; do :; done',
      ],
      labels: { role: 'busy' },
      linux: { resources: { memoryLimitInBytes: 64n << 20n } },
    }),
  );
  await waitFor('the file', async () => {
    const { exitCode } = await suite.daemon.runtime.execSync({
      containerId,
      cmd: ['test', '-f', '/written'],
    });
    return exitCode === 0;
  });
});

test('a running container tells its CPU time, memory and writable layer', async () => {
  await waitFor('a second sample of the CPU time', async () => {
    const { stats } = await suite.daemon.runtime.containerStats({ containerId });
    return (stats?.cpu?.usageNanoCores?.value ?? 0n) > 0n;
  });
  const { stats } = await suite.daemon.runtime.containerStats({ containerId });
  expect(stats?.attributes).toMatchObject({ id: containerId, labels: { role: 'busy' } });
  expect(stats?.cpu?.timestamp).toBeGreaterThan(0n);
  expect(stats?.cpu?.usageCoreNanoSeconds?.value).toBeGreaterThan(0n);
  expect(stats?.memory?.timestamp).toBeGreaterThan(0n);
  expect(stats?.memory?.workingSetBytes?.value).toBeGreaterThan(0n);
  expect(stats?.memory?.availableBytes?.value).toBeLessThan(64n << 20n);
  expect(stats?.writableLayer?.usedBytes?.value).toBeGreaterThanOrEqual(5n << 20n);
  expect(stats?.writableLayer?.inodesUsed?.value).toBeGreaterThan(1n);
});

test('a pod tells its network counters, processes and containers', async () => {
  const { stats } = await suite.daemon.runtime.podSandboxStats({ podSandboxId: pod.id });
  expect(stats?.attributes).toMatchObject({ id: pod.id, labels: { app: 'measured' } });
  expect(stats?.linux?.network?.defaultInterface?.name).toBe('eth0');
  expect(stats?.linux?.process?.processCount?.value).toBeGreaterThan(0n);
  expect(stats?.linux?.cpu?.usageCoreNanoSeconds?.value).toBeGreaterThan(0n);
  expect(stats?.linux?.containers).toMatchObject([{ attributes: { id: containerId } }]);
});

test('lists hold running containers that match, and nothing of others', async () => {
  const idle = await createContainer(suite.daemon, pod, containerConfig(suite.image));
  const listed = async (filter: object) => {
    const { stats } = await suite.daemon.runtime.listContainerStats({ filter });
    return stats.map(({ attributes }) => attributes?.id);
  };
  expect(await listed({})).toEqual([containerId]);
  expect(await listed({ labelSelector: { role: 'busy' } })).toEqual([containerId]);
  expect(await listed({ labelSelector: { role: 'other' } })).toEqual([]);
  expect(await listed({ podSandboxId: pod.id, id: containerId.slice(0, 12) })).toEqual([
    containerId,
  ]);
  const pods = await suite.daemon.runtime.listPodSandboxStats({
    filter: { labelSelector: { app: 'measured' } },
  });
  expect(pods.stats.map(({ attributes }) => attributes?.id)).toEqual([pod.id]);
  await suite.daemon.runtime.removeContainer({ containerId: idle });
});

test('a container that is not there is NOT_FOUND', async () => {
  await expect(
    suite.daemon.runtime.containerStats({ containerId: 'f'.repeat(64) }),
  ).rejects.toMatchObject({ code: 5 });
});

test('streamed lists bring what the plain lists do', async () => {
  const all = async <T>(stream: AsyncIterable<T>, field: keyof T) => {
    const items = [];
    for await (const message of stream) items.push(...(message[field] as { id?: string }[]));
    return items;
  };
  const { containers } = await suite.daemon.runtime.listContainers();
  expect(await all(suite.daemon.runtime.streamContainers(), 'containers')).toEqual(containers);
  const { items } = await suite.daemon.runtime.listPodSandbox();
  expect(await all(suite.daemon.runtime.streamPodSandboxes(), 'podSandboxes')).toEqual(items);
  const { images } = await suite.daemon.images.listImages();
  expect(await all(suite.daemon.images.streamImages(), 'images')).toEqual(images);
  const stats = await all(suite.daemon.runtime.streamContainerStats(), 'containerStats');
  expect(stats).toHaveLength(1);
});
