import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { PsiStats } from '../../src/gen/runtime/v1/api.ts';
import { cgroupLayout, controllerDirectory } from '../../src/linux/index.ts';
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
const layout = cgroupLayout();
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

test.skipIf(layout.mode !== 'unified')(
  'cgroup v2 alone: figures are those of the cgroup, and pressure where it is measured',
  async () => {
    const { info } = await suite.daemon.runtime.containerStatus({ containerId, verbose: true });
    const { cgroupsPath } = JSON.parse(info['info']!) as { cgroupsPath: string };
    const directory = controllerDirectory(layout, '', cgroupsPath)!;
    const read = (file: string) => readFile(join(directory, file), 'utf8');
    const usage = async () =>
      BigInt(/^usage_usec (\d+)$/m.exec(await read('cpu.stat'))![1]!) * 1000n;
    const before = await usage();
    const { stats } = await waitFor('newer figures', async () => {
      const answer = await suite.daemon.runtime.containerStats({ containerId });
      return (answer.stats?.cpu?.usageCoreNanoSeconds?.value ?? 0n) >= before && answer;
    });
    expect(stats?.cpu?.usageCoreNanoSeconds?.value).toBeLessThanOrEqual(await usage());
    const { memory, io } = stats!;
    const anonymous = BigInt(/^anon (\d+)$/m.exec(await read('memory.stat'))![1]!);
    expect(memory?.rssBytes?.value).toBeGreaterThan(anonymous / 2n);
    expect(memory?.rssBytes?.value).toBeLessThan(anonymous * 2n);
    expect(memory?.usageBytes?.value).toBeGreaterThanOrEqual(memory!.rssBytes!.value);
    expect(memory?.pageFaults?.value).toBeGreaterThan(0n);

    const isMeasured = existsSync(join(directory, 'cpu.pressure'));
    const { stats: podStats } = await suite.daemon.runtime.podSandboxStats({
      podSandboxId: pod.id,
    });
    const { cpu, memory: podMemory, io: podIo } = podStats!.linux!;
    const all: (PsiStats | undefined)[] = [stats?.cpu?.psi, memory?.psi, io?.psi];
    for (const psi of [...all, cpu?.psi, podMemory?.psi, podIo?.psi]) {
      expect(psi !== undefined).toBe(isMeasured);
      expect(psi?.Some?.Avg10 ?? 0).toBeLessThanOrEqual(100);
      expect(psi?.Some?.Total ?? 0n).toBeGreaterThanOrEqual(psi?.Full?.Total ?? 0n);
    }
    // It is busy, and shares the processors with whatever measures it.
    if (isMeasured) expect(stats?.cpu?.psi?.Some?.Total).toBeGreaterThan(0n);
  },
);

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
  const { runtime } = suite.daemon;
  const ids = async (stats: Promise<unknown[]>) =>
    ((await stats) as { attributes: { id: string } }[]).map(({ attributes }) => attributes.id);
  const ofContainers = (filter = {}) =>
    ids(all(runtime.streamContainerStats({ filter }), 'containerStats'));
  const ofPods = (filter = {}) =>
    ids(all(runtime.streamPodSandboxStats({ filter }), 'podSandboxStats'));
  expect(await ofContainers()).toEqual([containerId]);
  expect(await ofPods()).toEqual([pod.id]);
  const filter = { labelSelector: { role: 'nobody' } };
  const none = [
    await all(runtime.streamContainers({ filter }), 'containers'),
    await all(runtime.streamPodSandboxes({ filter }), 'podSandboxes'),
    ...[await ofContainers(filter), await ofPods(filter)],
  ];
  expect(none).toEqual([[], [], [], []]);
});
