import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import type { DeepPartial, LinuxContainerResources } from '../../src/gen/runtime/v1/api.ts';
import { cgroupLayout, controllerDirectory } from '../../src/linux/index.ts';
import {
  containerConfig,
  createContainer,
  type Pod,
  runContainer,
  runPod,
} from '../harness/index.ts';
import { gvisorDiffers } from './gvisor-limits.ts';
import { codeOf, criSuite, execIn, runToEnd, shell, statusOf } from './suite.ts';

const suite = criSuite();
const layout = cgroupLayout();
const MIB = 1n << 20n;

/** A cgroup's directory for a controller, as the host sees it. */
function directory(controller: string, path: string): string {
  return controllerDirectory(layout, controller, path)!;
}

async function cgroupOf(containerId: string): Promise<string> {
  const { info } = await suite.daemon.runtime.containerStatus({ containerId, verbose: true });
  return JSON.parse(info['info']!).cgroupsPath;
}

/** A value of the container's cgroup under its name in v1 or in v2. */
async function limitOf(id: string, controller: string, v1: string, v2: string): Promise<string> {
  const file = layout.mode === 'unified' ? v2 : v1;
  return (await readFile(join(directory(controller, await cgroupOf(id)), file), 'utf8')).trim();
}

async function run(resources: DeepPartial<LinuxContainerResources>, pod?: Pod): Promise<string> {
  const { daemon, image } = suite;
  const on = pod ?? (await runPod(daemon));
  return runContainer(daemon, on, containerConfig(image, { linux: { resources } }));
}

test(
  'memory and CPU limits are those of the cgroup, and of the status',
  gvisorDiffers,
  async () => {
    const resources = {
      memoryLimitInBytes: 64n * MIB,
      cpuShares: 512n,
      cpuQuota: 50_000n,
      cpuPeriod: 100_000n,
      cpusetCpus: '0',
      cpusetMems: '0',
    };
    const id = await run(resources);
    expect(await limitOf(id, 'memory', 'memory.limit_in_bytes', 'memory.max')).toBe(
      String(64n * MIB),
    );
    const quota = await limitOf(id, 'cpu', 'cpu.cfs_quota_us', 'cpu.max');
    expect(quota).toMatch(/^50000( 100000)?$/);
    expect(await limitOf(id, 'cpuset', 'cpuset.cpus', 'cpuset.cpus')).toBe('0');
    if (layout.mode !== 'unified') expect(await limitOf(id, 'cpu', 'cpu.shares', '')).toBe('512');
    expect((await statusOf(suite.daemon, id)).resources!.linux).toMatchObject(resources);
  },
);

test.skipIf(layout.mode !== 'unified')(
  'cgroup v2 alone: shares, swap, huge pages and values of its own are written',
  async () => {
    const controllers = (await readFile('/sys/fs/cgroup/cgroup.controllers', 'utf8')).split(/\s/);
    const hasHugepages = controllers.includes('hugetlb');
    const id = await run({
      cpuShares: 512n,
      memoryLimitInBytes: 64n * MIB,
      memorySwapLimitInBytes: 80n * MIB,
      unified: { 'memory.high': String(48n * MIB), 'pids.max': '77' },
      hugepageLimits: hasHugepages ? [{ pageSize: '2MB', limit: 4n * MIB }] : [],
    });
    const cgroup = directory('', await cgroupOf(id));
    const value = async (file: string) => (await readFile(join(cgroup, file), 'utf8')).trim();
    // Of 2 to 262144 shares, in the same place between 1 and 10000.
    expect(await value('cpu.weight')).toBe('20');
    expect(await value('memory.max')).toBe(String(64n * MIB));
    expect(await value('memory.swap.max')).toBe(String(16n * MIB));
    expect(await value('memory.high')).toBe(String(48n * MIB));
    expect(await value('pids.max')).toBe('77');
    if (hasHugepages) expect(await value('hugetlb.2MB.max')).toBe(String(4n * MIB));
  },
);

test('what a kubelet sends to every container is taken', async () => {
  const id = await run({
    cpuPeriod: 100_000n,
    cpuShares: 2n,
    oomScoreAdj: -997n,
    hugepageLimits: [
      { pageSize: '2MB', limit: 0n },
      { pageSize: '1GB', limit: 0n },
    ],
    memorySwapLimitInBytes: 32n * MIB,
    memoryLimitInBytes: 32n * MIB,
  });
  expect((await statusOf(suite.daemon, id)).resources!.linux).toMatchObject({
    oomScoreAdj: -997n,
    memorySwapLimitInBytes: 32n * MIB,
  });
});

test('oom_score_adj is set, as far down as the daemon may', gvisorDiffers, async () => {
  const pod = await runPod(suite.daemon);
  const adjustment = async (oomScoreAdj: bigint) =>
    Number(
      await execIn(suite.daemon, await run({ oomScoreAdj }, pod), 'cat /proc/1/oom_score_adj'),
    );
  expect(await adjustment(987n)).toBe(987);
  const status = await readFile(`/proc/${suite.daemon.pid}/status`, 'utf8');
  const bounding = BigInt(`0x${/^CapBnd:\s*(\S+)/m.exec(status)![1]!}`);
  const mayLower = (bounding & (1n << 24n)) !== 0n; // CAP_SYS_RESOURCE
  const own = Number(await readFile(`/proc/${suite.daemon.pid}/oom_score_adj`, 'utf8'));
  expect(await adjustment(-500n)).toBe(mayLower ? -500 : Math.max(own, -500));
});

test('a container beyond its memory is killed, and says so', gvisorDiffers, async () => {
  const pod = await runPod(suite.daemon);
  const eat = 'x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done';
  const { status } = await runToEnd(suite.daemon, pod, suite.image, {
    ...shell(eat),
    linux: { resources: { memoryLimitInBytes: 15n * MIB } },
  });
  expect(status).toMatchObject({ reason: 'OOMKilled', exitCode: 137 });
});

test('so does one whose child was killed for memory', gvisorDiffers, async () => {
  const pod = await runPod(suite.daemon);
  const eat = "sh -c 'x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done'; exit 9";
  const { status } = await runToEnd(suite.daemon, pod, suite.image, {
    ...shell(eat),
    linux: { resources: { memoryLimitInBytes: 15n * MIB } },
  });
  expect(status).toMatchObject({ reason: 'OOMKilled', exitCode: 9 });
});

test('limits that this machine cannot set are refused', async () => {
  const pod = await runPod(suite.daemon);
  const refusal = (resources: DeepPartial<LinuxContainerResources>) =>
    codeOf(
      createContainer(suite.daemon, pod, containerConfig(suite.image, { linux: { resources } })),
    );
  if (layout.mode !== 'unified') {
    expect(await refusal({ unified: { 'memory.high': '1000000' } })).toBe('INVALID_ARGUMENT');
  }
  if (!layout.mountpoints.has('hugetlb') && layout.mode !== 'unified') {
    const hugepageLimits = [{ pageSize: '2MB', limit: 2n * MIB }];
    expect(await refusal({ hugepageLimits })).toBe('INVALID_ARGUMENT');
  }
  expect(await refusal({ oomScoreAdj: 1001n })).toBe('INVALID_ARGUMENT');
  expect(await refusal({ cpuQuota: 1n << 60n })).toBe('INVALID_ARGUMENT');
});

const tag = () => `/keelson-test-${basename(suite.daemon.directory)}`;

test(
  'containers lie below the cgroup that the pod names, which is left alone',
  gvisorDiffers,
  async () => {
    const parent = `${tag()}/pod1`;
    const memory = directory('memory', parent);
    await mkdir(memory, { recursive: true });
    try {
      const pod = await runPod(suite.daemon, { linux: { cgroupParent: parent } });
      const id = await run({}, pod);
      expect(await cgroupOf(id)).toBe(`${parent}/${id}`);
      const { info } = await suite.daemon.runtime.containerStatus({
        containerId: id,
        verbose: true,
      });
      const { pid } = JSON.parse(info['info']!);
      const inside = await readFile(
        join(directory('memory', `${parent}/${id}`), 'cgroup.procs'),
        'utf8',
      );
      expect(inside.split('\n')).toContain(String(pid));
      await suite.daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
      expect(existsSync(memory)).toBe(true);
      expect((await readdir(memory)).join()).not.toContain(id);
    } finally {
      await rmdir(memory);
      await rmdir(join(memory, '..'));
    }
  },
);

test('a cgroup that was made for a pod goes with it', async () => {
  const parent = `${tag()}-made/deep/pod2`;
  const pod = await runPod(suite.daemon, { linux: { cgroupParent: parent } });
  await run({}, pod);
  expect(existsSync(directory('memory', parent))).toBe(true);
  await suite.daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
  for (const mountpoint of new Set(layout.mountpoints.values())) {
    expect(existsSync(`${mountpoint}${tag()}-made`), mountpoint).toBe(false);
  }
});

test('without a parent, a pod has a cgroup of its own that goes with it', async () => {
  const pod = await runPod(suite.daemon);
  const id = await run({}, pod);
  const path = await cgroupOf(id);
  expect(path).toContain(pod.id);
  expect(existsSync(directory('memory', path))).toBe(true);
  await suite.daemon.runtime.removeContainer({ containerId: id });
  expect(existsSync(directory('memory', path))).toBe(false);
  await suite.daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
  expect(existsSync(join(directory('memory', path), '..'))).toBe(false);
});

test('a cgroup parent that leads out of its tree is refused', async () => {
  for (const cgroupParent of ['/../outside', 'a/../../b', '/a\0b']) {
    const call = runPod(suite.daemon, { linux: { cgroupParent } });
    expect(await codeOf(call), cgroupParent).toBe('INVALID_ARGUMENT');
  }
});

test('processes that a container leaves behind end with it', async () => {
  const pod = await runPod(suite.daemon);
  const config = containerConfig(suite.image, shell('setsid sleep 4242424 & sleep 1000000'));
  const id = await runContainer(suite.daemon, pod, config);
  const path = directory('memory', await cgroupOf(id));
  await suite.daemon.runtime.stopContainer({ containerId: id });
  const left = await readFile(join(path, 'cgroup.procs'), 'utf8').catch(() => '');
  expect(left.trim()).toBe('');
});

test('classes of block I/O and RDT are refused, as none are configured', async () => {
  const { daemon, image } = suite;
  const attempt = (pod: Pod, annotations: Record<string, string> = {}, name = 'main') =>
    codeOf(
      createContainer(daemon, pod, containerConfig(image, { annotations, metadata: { name } })),
    );
  const plain = await runPod(daemon);
  expect(await attempt(plain, { 'io.kubernetes.cri.blockio-class': 'slow' })).toBe(
    'INVALID_ARGUMENT',
  );
  const classes = {
    'rdt.resources.beta.kubernetes.io/container.main': 'gold',
    'blockio.resources.beta.kubernetes.io/container.other': 'slow',
  };
  const pod = await runPod(daemon, { annotations: classes });
  expect(await attempt(pod)).toBe('INVALID_ARGUMENT');
  expect(await attempt(pod, {}, 'third')).toBe('OK');
});
