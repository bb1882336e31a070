import { MetricType } from '../../gen/runtime/v1/api.ts';
import type { ContainerMeasurements } from '../../pods/index.ts';
import { counter, type Family, gauge, type Reading, seconds } from './family.ts';
import { fileSystemFamilies } from './file-system-families.ts';

type Subject = ContainerMeasurements;

/** The kernel's own, for a container that asks for none. */
const DEFAULT_CPU_PERIOD = 100_000;
const DEFAULT_CPU_SHARES = 1024;

const cpu = ({ details }: Subject) => details?.cgroup.cpu;
const memory = ({ sample }: Subject) => sample?.usage.memory;
const resources = ({ container }: Subject) => container.config.resources;

const cpuFamilies: Family<Subject>[] = [
  {
    name: 'container_cpu_usage_seconds_total',
    help: 'CPU time used, in seconds.',
    type: MetricType.COUNTER,
    labels: ['cpu'],
    read: ({ sample }) => {
      const value = seconds(sample?.usage.cpu?.usageNanoseconds);
      return value === undefined ? [] : [{ value, labels: ['total'] }];
    },
  },
  counter(
    'container_cpu_user_seconds_total',
    'CPU time used in user mode, in seconds.',
    (subject) => seconds(cpu(subject)?.userNanoseconds),
  ),
  counter(
    'container_cpu_system_seconds_total',
    'CPU time used by the kernel, in seconds.',
    (subject) => seconds(cpu(subject)?.systemNanoseconds),
  ),
  counter(
    'container_cpu_cfs_periods_total',
    'Periods in which the CPU limit was enforced.',
    (subject) => cpu(subject)?.periods,
  ),
  counter(
    'container_cpu_cfs_throttled_periods_total',
    'Periods in which the CPU limit was reached.',
    (subject) => cpu(subject)?.throttledPeriods,
  ),
  counter(
    'container_cpu_cfs_throttled_seconds_total',
    'Time spent waiting for the next period, in seconds.',
    (subject) => seconds(cpu(subject)?.throttledNanoseconds),
  ),
];

const memoryFamilies: Family<Subject>[] = [
  gauge(
    'container_memory_usage_bytes',
    'Memory in use, with all caches, in bytes.',
    (subject) => memory(subject)?.usageBytes,
  ),
  gauge(
    'container_memory_working_set_bytes',
    'Memory in use without the file cache that can be had back first, in bytes.',
    (subject) => memory(subject)?.workingSetBytes,
  ),
  gauge(
    'container_memory_max_usage_bytes',
    'The most memory that was in use at once, in bytes.',
    // Linux keeps none on cgroup v2 before 5.19: it was at least as much as it is now.
    (subject) => subject.details?.cgroup.memoryPeakBytes ?? memory(subject)?.usageBytes,
  ),
  gauge(
    'container_memory_rss',
    'Anonymous memory, in bytes.',
    (subject) => memory(subject)?.rssBytes,
  ),
  gauge(
    'container_memory_cache',
    'Memory that holds pages of files, in bytes.',
    (subject) => memory(subject)?.cacheBytes,
  ),
  gauge(
    'container_memory_mapped_file',
    'Mapped pages of files, in bytes.',
    (subject) => memory(subject)?.mappedFileBytes,
  ),
  gauge(
    'container_memory_kernel_usage',
    'Memory that the kernel uses, in bytes.',
    (subject) => memory(subject)?.kernelBytes,
  ),
  gauge('container_memory_swap', 'Swap in use, in bytes.', ({ sample }) =>
    // Where the kernel does not count swap there is none.
    sample === undefined ? undefined : (sample.usage.swap?.usageBytes ?? 0),
  ),
  counter(
    'container_memory_failcnt',
    'How often memory was wanted beyond the limit.',
    ({ details }) => details?.cgroup.memoryLimitHits,
  ),
  {
    name: 'container_memory_failures_total',
    help: 'Page faults.',
    type: MetricType.COUNTER,
    labels: ['failure_type', 'scope'],
    read: (subject) => {
      const use = memory(subject);
      if (use === undefined) return [];
      // All that a container runs is below its own cgroup.
      return ['container', 'hierarchy'].flatMap((scope) => [
        { value: use.pageFaults, labels: ['pgfault', scope] },
        { value: use.majorPageFaults, labels: ['pgmajfault', scope] },
      ]);
    },
  },
  gauge(
    'container_memory_total_active_file_bytes',
    'File cache that was used lately, in bytes.',
    (subject) => memory(subject)?.activeFileBytes,
  ),
  gauge(
    'container_memory_total_inactive_file_bytes',
    'File cache that can be had back first, in bytes.',
    (subject) => memory(subject)?.inactiveFileBytes,
  ),
  counter(
    'container_oom_events_total',
    'Processes killed for want of memory.',
    ({ details }) => details?.cgroup.oomKills,
  ),
];

const processFamilies: Family<Subject>[] = [
  gauge('container_processes', 'Processes.', ({ details }) => details?.processes),
  gauge('container_threads', 'Threads.', ({ sample }) => sample?.usage.tasks),
  gauge('container_threads_max', 'Threads that may be; 0 for no limit.', ({ details }) =>
    details === undefined ? undefined : (details.cgroup.taskLimit ?? 0),
  ),
  gauge('container_file_descriptors', 'Open files.', ({ descriptors }) => descriptors?.files),
  gauge('container_sockets', 'Open sockets.', ({ descriptors }) => descriptors?.sockets),
  {
    name: 'container_ulimits_soft',
    help: 'Soft limits of the first process.',
    type: MetricType.GAUGE,
    labels: ['ulimit'],
    read: ({ details }) => {
      const value = details?.openFilesLimit;
      return value === undefined ? [] : [{ value, labels: ['max_open_files'] }];
    },
  },
];

const hugepageFamilies: Family<Subject>[] = [
  {
    name: 'container_hugetlb_usage_bytes',
    help: 'Huge pages in use, in bytes.',
    type: MetricType.GAUGE,
    labels: ['pagesize'],
    read: ({ details }) =>
      (details?.cgroup.hugepages ?? []).map(({ pageSize, usageBytes }) => ({
        value: usageBytes,
        labels: [pageSize],
      })),
  },
  {
    name: 'container_hugetlb_max_usage_bytes',
    help: 'The most bytes of huge pages that were in use at once.',
    type: MetricType.GAUGE,
    labels: ['pagesize'],
    read: ({ details }) =>
      (details?.cgroup.hugepages ?? []).flatMap(({ pageSize, maxUsageBytes }): Reading[] =>
        maxUsageBytes === undefined ? [] : [{ value: maxUsageBytes, labels: [pageSize] }],
      ),
  },
];

const PRESSURE = {
  cpu: ({ sample }: Subject) => sample?.usage.cpu?.pressure,
  memory: ({ sample }: Subject) => sample?.usage.memory?.pressure,
  io: ({ sample }: Subject) => sample?.usage.io.pressure,
};

const pressureFamilies: Family<Subject>[] = Object.entries(PRESSURE).flatMap(([resource, read]) => [
  counter(
    `container_pressure_${resource}_waiting_seconds_total`,
    `Time in which some task waited for ${resource}, in seconds.`,
    (subject: Subject) => seconds(read(subject)?.some.total),
  ),
  counter(
    `container_pressure_${resource}_stalled_seconds_total`,
    `Time in which all tasks waited for ${resource}, in seconds.`,
    (subject: Subject) => seconds(read(subject)?.full.total),
  ),
]);

const specFamilies: Family<Subject>[] = [
  gauge(
    'container_spec_cpu_period',
    'The period of the CPU limit, in microseconds.',
    (subject) => resources(subject).cpuPeriod ?? DEFAULT_CPU_PERIOD,
  ),
  gauge(
    'container_spec_cpu_quota',
    'The CPU time of a period, in microseconds; nothing for no limit.',
    (subject) => {
      const quota = resources(subject).cpuQuota ?? 0;
      return quota > 0 ? quota : undefined;
    },
  ),
  gauge(
    'container_spec_cpu_shares',
    'The share of the CPU, 1024 being the usual one.',
    (subject) => resources(subject).cpuShares ?? DEFAULT_CPU_SHARES,
  ),
  gauge(
    'container_spec_memory_limit_bytes',
    'The limit of memory, in bytes; 0 for none.',
    (subject) => limit(resources(subject).memoryLimit),
  ),
  gauge(
    'container_spec_memory_reservation_limit_bytes',
    'Memory that is not taken away before that of others, in bytes; 0 for none.',
    (subject) => reservation(resources(subject).unified['memory.low']),
  ),
  gauge(
    'container_spec_memory_swap_limit_bytes',
    'The limit of memory and swap together, in bytes; 0 for none.',
    (subject) => limit(resources(subject).memorySwapLimit ?? resources(subject).memoryLimit),
  ),
];

const timeFamilies: Family<Subject>[] = [
  gauge(
    'container_last_seen',
    'When the container was last seen, in Unix seconds.',
    ({ sample }) => (sample === undefined ? undefined : seconds(BigInt(sample.at))),
  ),
  gauge(
    'container_start_time_seconds',
    'When the container was started, in Unix seconds.',
    ({ container: { state } }) =>
      state.phase === 'running' ? seconds(BigInt(state.startedAt)) : undefined,
  ),
];

/** All metrics of a container, as cAdvisor names them. */
export const containerFamilies: readonly Family<Subject>[] = [
  ...cpuFamilies,
  ...memoryFamilies,
  ...fileSystemFamilies,
  ...processFamilies,
  ...hugepageFamilies,
  ...pressureFamilies,
  ...specFamilies,
  ...timeFamilies,
];

/** A negative limit means none, too. */
function limit(bytes: number | undefined): number {
  return Math.max(0, bytes ?? 0);
}

function reservation(text: string | undefined): number {
  const bytes = Number(text ?? 0);
  return Number.isSafeInteger(bytes) ? limit(bytes) : 0;
}
