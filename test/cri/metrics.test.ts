import { existsSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import {
  type ContainerMetrics,
  type Metric,
  MetricType,
  type PodSandboxMetrics,
} from '../../src/gen/runtime/v1/api.ts';
import { cgroupLayout } from '../../src/linux/index.ts';
import { containerConfig, type Pod, runContainer, runPod, waitFor } from '../harness/index.ts';
import { criSuite, execIn } from './suite.ts';

const suite = criSuite();
// Of v1 cgroups the kernel measures none.
const hasPressure = cgroupLayout().mode === 'unified' && existsSync('/proc/pressure/cpu');
let pod: Pod;
let containerId: string;
let keys: ReadonlyMap<string, string[]>;

/** What kubelets and critest want of each container, with a value (cAdvisor's names). */
const OF_CONTAINERS = `
  cpu_usage_seconds_total cpu_user_seconds_total cpu_system_seconds_total cpu_cfs_periods_total
  cpu_cfs_throttled_periods_total cpu_cfs_throttled_seconds_total memory_usage_bytes
  memory_working_set_bytes memory_max_usage_bytes memory_rss memory_cache memory_mapped_file
  memory_total_active_file_bytes memory_total_inactive_file_bytes
  memory_kernel_usage memory_swap memory_failcnt memory_failures_total oom_events_total
  fs_usage_bytes fs_limit_bytes fs_inodes_total fs_inodes_free processes threads threads_max
  file_descriptors sockets ulimits_soft spec_cpu_period spec_cpu_shares spec_memory_limit_bytes
  spec_memory_reservation_limit_bytes spec_memory_swap_limit_bytes last_seen start_time_seconds
`
  .trim()
  .split(/\s+/)
  .map((name) => `container_${name}`);

/** What there is to read only on some hosts, or only after some work. */
const OPTIONAL = `
  fs_reads_bytes_total fs_reads_total fs_writes_bytes_total fs_writes_total
  blkio_device_usage_total hugetlb_usage_bytes hugetlb_max_usage_bytes spec_cpu_quota
  pressure_cpu_waiting_seconds_total pressure_cpu_stalled_seconds_total
  pressure_memory_waiting_seconds_total pressure_memory_stalled_seconds_total
  pressure_io_waiting_seconds_total pressure_io_stalled_seconds_total
`
  .trim()
  .split(/\s+/)
  .map((name) => `container_${name}`);

const OF_PODS = ['receive', 'transmit'].flatMap((direction) =>
  ['bytes', 'packets', 'packets_dropped', 'errors'].map(
    (what) => `container_network_${direction}_${what}_total`,
  ),
);

beforeAll(async () => {
  const { descriptors } = await suite.daemon.runtime.listMetricDescriptors();
  keys = new Map(descriptors.map(({ name, labelKeys }) => [name, labelKeys]));
  pod = await runPod(suite.daemon, { metadata: { namespace: 'measured' } });
  containerId = await runContainer(
    suite.daemon,
    pod,
    containerConfig(suite.image, {
      metadata: { name: 'busy' },
      command: ['sh', '-c', 'nc -l -p 7777 & touch /written; while :; do :; done'],
      image: { userSpecifiedImage: 'example.org/busy:1' },
      linux: {
        resources: {
          ...{ cpuShares: 512n, cpuPeriod: 50_000n, cpuQuota: 40_000n },
          memoryLimitInBytes: 64n << 20n,
        },
      },
    }),
  );
});

async function measure(): Promise<{ pod: PodSandboxMetrics; container: ContainerMetrics }> {
  const { podMetrics } = await suite.daemon.runtime.listPodSandboxMetrics();
  const ours = podMetrics.find(({ podSandboxId }) => podSandboxId === pod.id)!;
  return {
    pod: ours,
    container: ours.containerMetrics.find((each) => each.containerId === containerId)!,
  };
}

/** The labels of a metric, by name. */
function labels({ name, labelValues }: Metric): Record<string, string> {
  const names = keys.get(name)!;
  expect(labelValues, name).toHaveLength(names.length);
  return Object.fromEntries(names.map((key, index) => [key, labelValues[index]!]));
}

function readingOf(metrics: readonly Metric[], name: string): number {
  const found = metrics.find((metric) => metric.name === name);
  expect(found, name).toBeDefined();
  return Number(found!.value!.value);
}

test('descriptors name each metric that kubelets know once, with its labels', async () => {
  const { descriptors } = await suite.daemon.runtime.listMetricDescriptors();
  const names = descriptors.map(({ name }) => name);
  expect(names.sort()).toEqual([...OF_CONTAINERS, ...OPTIONAL, ...OF_PODS].sort());
  for (const { help, labelKeys } of descriptors) {
    expect(help).not.toBe('');
    expect(labelKeys.slice(0, 5)).toEqual(['pod', 'namespace', 'container', 'id', 'image']);
  }
  expect(keys.get('container_memory_failures_total')?.slice(5)).toEqual(['failure_type', 'scope']);
  expect(keys.get('container_network_receive_bytes_total')?.slice(5)).toEqual(['interface']);
});

test('a container has each metric, of its type, with the labels of its pod and image', async () => {
  const { container } = await measure();
  const names = new Set(container.metrics.map(({ name }) => name));
  expect(OF_CONTAINERS.filter((name) => !names.has(name))).toEqual([]);
  const pressure = OPTIONAL.filter((name) => name.startsWith('container_pressure_'));
  expect(pressure.filter((name) => names.has(name))).toEqual(hasPressure ? pressure : []);
  for (const metric of container.metrics) {
    expect(labels(metric)).toMatchObject({
      pod: pod.config.metadata?.name,
      namespace: 'measured',
      container: 'busy',
      id: containerId,
      image: 'example.org/busy:1',
    });
    const isCounter = /(?<!inodes)_total$|failcnt$/.test(metric.name);
    expect(metric.metricType, metric.name).toBe(isCounter ? MetricType.COUNTER : MetricType.GAUGE);
    expect(metric.timestamp).toBeGreaterThan(0n);
  }
});

test('values are what the container was given and does', async () => {
  const now = Math.floor(Date.now() / 1000);
  await execIn(suite.daemon, containerId, 'dd if=/dev/zero of=/big bs=1M count=2');
  const metrics = await waitFor(
    'a second of CPU time, and a look at the files since they were written',
    async () => {
      const { container } = await measure();
      const seconds = (of: string) =>
        readingOf(container.metrics, `container_cpu_${of}_seconds_total`);
      // Each is whole seconds: two parts may add up to one more, or less, than the whole.
      const isEnough = seconds('usage') >= 1 && seconds('user') + seconds('system') >= 1;
      const isMeasured = readingOf(container.metrics, 'container_fs_usage_bytes') > 0;
      return isEnough && isMeasured && container.metrics;
    },
    20_000,
  );
  const value = (name: string) => readingOf(metrics, `container_${name}`);
  expect(value('cpu_cfs_periods_total')).toBeGreaterThan(0);
  expect(value('cpu_cfs_periods_total')).toBeGreaterThanOrEqual(
    value('cpu_cfs_throttled_periods_total'),
  );
  expect(value('memory_usage_bytes')).toBeLessThanOrEqual(64 << 20);
  expect(value('memory_max_usage_bytes')).toBeGreaterThan(0);
  expect(value('memory_working_set_bytes')).toBeLessThanOrEqual(value('memory_usage_bytes'));
  expect(value('processes')).toBe(2);
  expect(value('threads')).toBe(2);
  expect(value('file_descriptors')).toBeGreaterThanOrEqual(6);
  expect(value('sockets')).toBe(1);
  expect(value('ulimits_soft')).toBeGreaterThan(0);
  expect(value('fs_usage_bytes')).toBeGreaterThan(0);
  expect(value('fs_limit_bytes')).toBeGreaterThan(value('fs_usage_bytes'));
  expect(value('spec_cpu_shares')).toBe(512);
  expect(value('spec_cpu_period')).toBe(50_000);
  expect(value('spec_cpu_quota')).toBe(40_000);
  expect(value('spec_memory_limit_bytes')).toBe(64 << 20);
  expect(value('spec_memory_swap_limit_bytes')).toBe(64 << 20);
  expect(Math.abs(value('start_time_seconds') - now)).toBeLessThan(60);
  expect(value('last_seen')).toBeGreaterThanOrEqual(value('start_time_seconds'));
});

test('a pod has the counters of its interfaces', async () => {
  const { pod: measured } = await measure();
  expect([...new Set(measured.metrics.map(({ name }) => name))].sort()).toEqual(OF_PODS.sort());
  for (const metric of measured.metrics) {
    expect(labels(metric)).toMatchObject({
      ...{ pod: pod.config.metadata?.name, container: '', image: '' },
      ...{ id: pod.id, interface: 'eth0' },
    });
  }
  const received = () =>
    measure().then(({ pod: now }) =>
      readingOf(now.metrics, OF_PODS.find((n) => n.includes('receive_packets_t'))!),
    );
  await execIn(suite.daemon, containerId, `ping -c 3 -i 0.2 ${suite.daemon.network?.gateway}`);
  await waitFor('packets', async () => (await received()) >= 3);
});

test('the streamed metrics are those of the list, some pods at a time', async () => {
  const more = await Promise.all(
    Array.from({ length: 11 }, () =>
      runPod(suite.daemon, { linux: { securityContext: { namespaceOptions: { network: 2 } } } }),
    ),
  );
  const messages = [];
  for await (const message of suite.daemon.runtime.streamPodSandboxMetrics()) {
    messages.push(message.podSandboxMetrics);
  }
  expect(messages.map((each) => each.length)).toEqual([10, 2]);
  const { podMetrics } = await suite.daemon.runtime.listPodSandboxMetrics();
  const ids = (all: PodSandboxMetrics[]) => all.map(({ podSandboxId }) => podSandboxId);
  expect(ids(messages.flat())).toEqual(ids(podMetrics));
  expect(ids(podMetrics)).toEqual(expect.arrayContaining(more.map(({ id }) => id)));
});

test('a container that ends, or whose cgroup is gone, is left out and the rest is there', async () => {
  const short = await runContainer(
    suite.daemon,
    pod,
    containerConfig(suite.image, { command: ['sleep', '0.3'] }),
  );
  const seen = new Set<number>();
  await waitFor('the end of the container', async () => {
    const { podMetrics } = await suite.daemon.runtime.listPodSandboxMetrics();
    const { stats } = await suite.daemon.runtime.listContainerStats();
    const ours = podMetrics.find(({ podSandboxId }) => podSandboxId === pod.id)!;
    seen.add(ours.containerMetrics.length);
    expect(ours.containerMetrics.map((each) => each.containerId)).toContain(containerId);
    expect(stats.map(({ attributes }) => attributes?.id)).toContain(containerId);
    return !ours.containerMetrics.some((each) => each.containerId === short);
  });
  expect([...seen].at(-1)).toBe(1);
});
