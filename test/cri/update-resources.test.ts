import { beforeAll, expect, test } from 'vitest';
import {
  containerConfig,
  createContainer,
  type Pod,
  runContainer,
  runPod,
} from '../harness/index.ts';
import { codeOf, criSuite, ended, execIn, shell, statusOf } from './suite.ts';

const suite = criSuite();
const MEBIBYTE = 1n << 20n;
let pod: Pod;

beforeAll(async () => {
  pod = await runPod(suite.daemon);
});

const limits = { memoryLimitInBytes: 64n * MEBIBYTE, cpuShares: 512n, oomScoreAdj: 500n };

/** A file as the container sees it: the first that is there, for cgroup v1 and v2 differ. */
async function inside(containerId: string, ...paths: string[]): Promise<string> {
  const script = paths.map((path) => `cat ${path} 2>/dev/null`).join(' || ');
  return execIn(suite.daemon, containerId, script);
}

test('new limits take effect in a running container and show in its status', async () => {
  const { daemon, image } = suite;
  const config = containerConfig(image, { linux: { resources: limits } });
  const containerId = await runContainer(daemon, pod, config);
  await daemon.runtime.updateContainerResources({
    containerId,
    linux: { memoryLimitInBytes: 96n * MEBIBYTE, cpuQuota: 50_000n, cpuPeriod: 100_000n },
  });
  expect((await statusOf(daemon, containerId)).resources?.linux).toMatchObject({
    memoryLimitInBytes: 96n * MEBIBYTE,
    cpuQuota: 50_000n,
    cpuShares: 512n,
    oomScoreAdj: 500n,
  });
  const root = '/sys/fs/cgroup';
  expect(
    await inside(containerId, `${root}/memory/memory.limit_in_bytes`, `${root}/memory.max`),
  ).toBe(String(96n * MEBIBYTE));
  expect(await inside(containerId, `${root}/cpu/cpu.cfs_quota_us`, `${root}/cpu.max`)).toMatch(
    /^50000( 100000)?$/,
  );
});

test('the OOM score of processes that run already changes too', async () => {
  const { daemon, image } = suite;
  const config = containerConfig(image, { linux: { resources: limits } });
  const containerId = await runContainer(daemon, pod, config);
  await daemon.runtime.updateContainerResources({ containerId, linux: { oomScoreAdj: 700n } });
  expect(await inside(containerId, '/proc/1/oom_score_adj')).toBe('700');
});

test('a container that was only created can be changed, an ended one cannot', async () => {
  const { daemon, image } = suite;
  const config = containerConfig(image, shell('exit 0'));
  const containerId = await createContainer(daemon, pod, config);
  const linux = { memoryLimitInBytes: 32n * MEBIBYTE };
  await daemon.runtime.updateContainerResources({ containerId, linux });
  await daemon.runtime.startContainer({ containerId });
  await ended(daemon, containerId);
  expect(await codeOf(daemon.runtime.updateContainerResources({ containerId, linux }))).toBe(
    'FAILED_PRECONDITION',
  );
});

test('unknown containers and pods are NOT_FOUND', async () => {
  const { runtime } = suite.daemon;
  const unknown = 'f'.repeat(64);
  const container = { containerId: unknown, linux: { cpuShares: 2n } };
  expect(await codeOf(runtime.updateContainerResources(container))).toBe('NOT_FOUND');
  const sandbox = { podSandboxId: unknown, resources: { cpuShares: 2n } };
  expect(await codeOf(runtime.updatePodSandboxResources(sandbox))).toBe('NOT_FOUND');
});

test('the sums of a pod are taken, and shown as CRI has them', async () => {
  const { runtime } = suite.daemon;
  const resources = { cpuShares: 1024n, cpuQuota: 50000n, cpuPeriod: 100000n };
  const overhead = { memoryLimitInBytes: 128n << 20n };
  await runtime.updatePodSandboxResources({ podSandboxId: pod.id, resources, overhead });
  const { info } = await runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
  expect(JSON.parse(info['info']!)).toMatchObject({
    resources: { linux: { cpu_shares: 1024, cpu_quota: 50000, cpu_period: 100000 } },
    overhead: { linux: { memory_limit_in_bytes: 128 << 20 } },
  });
});
