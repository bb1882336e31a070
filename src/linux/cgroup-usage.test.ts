import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readCgroupDetails } from './cgroup-details.ts';
import { readCgroupUsage } from './cgroup-usage.ts';
import { parsePressure } from './cgroup-values.ts';
import type { CgroupLayout } from './cgroups.ts';

/** As read from a container's cgroup on a host with cgroup v2 (Linux 6.1). */
const V2: Record<string, string> = {
  'cpu.stat': `usage_usec 4312345
user_usec 3000001
system_usec 1312344
core_sched.force_idle_usec 0
nr_periods 120
nr_throttled 7
throttled_usec 2500000
nr_bursts 0
burst_usec 0
`,
  'cpu.pressure': `some avg10=1.53 avg60=0.87 avg300=0.22 total=5251234
full avg10=0.50 avg60=0.25 avg300=0.10 total=1000001
`,
  'memory.current': '52428800\n',
  'memory.max': '67108864\n',
  'memory.peak': '60000000\n',
  'memory.swap.current': '4096\n',
  'memory.swap.max': '8192\n',
  'memory.stat': `anon 20971520
file 31457280
kernel 1048576
kernel_stack 65536
pagetables 131072
file_mapped 8192
inactive_file 10485760
active_file 20000000
pgfault 4321
pgmajfault 12
`,
  'memory.events': 'low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n',
  'memory.pressure': `some avg10=0.00 avg60=0.00 avg300=0.00 total=3000000
full avg10=0.00 avg60=0.00 avg300=0.00 total=2000000
`,
  'io.pressure': `some avg10=0.00 avg60=0.00 avg300=0.00 total=9000000
full avg10=0.00 avg60=0.00 avg300=0.00 total=8000000
`,
  'io.stat': `254:0 rbytes=409600 wbytes=8192 rios=25 wios=2 dbytes=0 dios=0
8:16 rbytes=0 wbytes=4096 rios=0 wios=1 dbytes=0 dios=0
`,
  'pids.current': '9\n',
  'pids.max': '1024\n',
  'hugetlb.2MB.current': '4194304\n',
  'hugetlb.2MB.max': 'max\n',
};

/** As read on a host with cgroup v1. */
const V1: Record<string, string> = {
  'cpuacct/cpuacct.usage': '4312345678\n',
  'cpuacct/cpuacct.usage_user': '3000001000\n',
  'cpuacct/cpuacct.usage_sys': '1312344678\n',
  'cpu/cpu.stat': 'nr_periods 120\nnr_throttled 7\nthrottled_time 2500000000\n',
  'memory/memory.usage_in_bytes': '52428800\n',
  'memory/memory.max_usage_in_bytes': '60000000\n',
  'memory/memory.limit_in_bytes': '67108864\n',
  'memory/memory.memsw.usage_in_bytes': '52432896\n',
  'memory/memory.memsw.limit_in_bytes': '67117056\n',
  'memory/memory.kmem.usage_in_bytes': '65536\n',
  'memory/memory.failcnt': '31\n',
  'memory/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 1\n',
  'memory/memory.stat': `cache 1
rss 1
pgfault 1
total_cache 31457280
total_rss 20971520
total_mapped_file 8192
total_pgfault 4321
total_pgmajfault 12
total_inactive_file 10485760
total_active_file 20000000
`,
  'blkio/blkio.throttle.io_service_bytes_recursive': `254:0 Read 409600
254:0 Write 8192
254:0 Sync 417792
254:0 Async 0
254:0 Discard 0
254:0 Total 417792
8:16 Read 0
8:16 Write 4096
Total 421888
`,
  'blkio/blkio.throttle.io_serviced_recursive': `254:0 Read 25
254:0 Write 2
8:16 Read 0
8:16 Write 1
Total 28
`,
  'pids/pids.current': '9\n',
  'pids/pids.max': '1024\n',
  'hugetlb/hugetlb.2MB.usage_in_bytes': '4194304\n',
  'hugetlb/hugetlb.2MB.max_usage_in_bytes': '6291456\n',
};

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cgroup-usage-'));
});
afterEach(() => rm(directory, { recursive: true }));

async function v2(files: Record<string, string>): Promise<CgroupLayout> {
  await mkdir(join(directory, 'pod'));
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(directory, 'pod', name), text);
  }
  return { mode: 'unified', mountpoints: new Map([['', directory]]) };
}

async function v1(files: Record<string, string>): Promise<CgroupLayout> {
  const mountpoints = new Map<string, string>();
  for (const [name, text] of Object.entries(files)) {
    const [controller = '', file = ''] = name.split('/');
    mountpoints.set(controller, join(directory, controller));
    await mkdir(join(directory, controller, 'pod'), { recursive: true });
    await writeFile(join(directory, controller, 'pod', file), text);
  }
  return { mode: 'legacy', mountpoints };
}

const MEMORY = {
  usageBytes: 52428800,
  workingSetBytes: 52428800 - 10485760,
  rssBytes: 20971520,
  cacheBytes: 31457280,
  mappedFileBytes: 8192,
  activeFileBytes: 20000000,
  inactiveFileBytes: 10485760,
  kernelBytes: 65536,
  limitBytes: 67108864,
  pageFaults: 4321,
  majorPageFaults: 12,
};
const SWAP = { usageBytes: 4096, availableBytes: 4096 };
const DEVICES = [
  { major: 254, minor: 0, readBytes: 409600, writtenBytes: 8192, reads: 25, writes: 2 },
  { major: 8, minor: 16, readBytes: 0, writtenBytes: 4096, reads: 0, writes: 1 },
];

describe('cgroup v2', () => {
  test('tells the usage of each resource and how long tasks waited for it', async () => {
    const usage = await readCgroupUsage(await v2(V2), '/pod');
    expect(usage).toEqual({
      cpu: {
        usageNanoseconds: 4_312_345_000n,
        pressure: {
          some: { avg10: 1.53, avg60: 0.87, avg300: 0.22, total: 5_251_234_000n },
          full: { avg10: 0.5, avg60: 0.25, avg300: 0.1, total: 1_000_001_000n },
        },
      },
      memory: { ...MEMORY, pressure: expect.objectContaining({ full: expect.anything() }) },
      swap: SWAP,
      io: { pressure: parsePressure(V2['io.pressure']) },
      tasks: 9,
    });
  });

  test('tells the details', async () => {
    expect(await readCgroupDetails(await v2(V2), '/pod', ['2MB', '1GB'])).toEqual({
      cpu: {
        userNanoseconds: 3_000_001_000n,
        systemNanoseconds: 1_312_344_000n,
        periods: 120,
        throttledPeriods: 7,
        throttledNanoseconds: 2_500_000_000n,
      },
      memoryPeakBytes: 60000000,
      memoryLimitHits: 31,
      oomKills: 1,
      devices: DEVICES,
      taskLimit: 1024,
      hugepages: [{ pageSize: '2MB', usageBytes: 4194304, maxUsageBytes: undefined }],
    });
  });

  test('has no limit where it says "max"', async () => {
    const max = { 'memory.max': 'max\n', 'memory.swap.max': 'max\n', 'pids.max': 'max\n' };
    const layout = await v2({ ...V2, ...max });
    const usage = await readCgroupUsage(layout, '/pod');
    expect(usage?.memory?.limitBytes).toBeUndefined();
    expect(usage?.swap).toEqual({ usageBytes: 4096, availableBytes: undefined });
    expect((await readCgroupDetails(layout, '/pod', [])).taskLimit).toBeUndefined();
  });
});

describe('cgroup v1', () => {
  test('tells the usage of each resource', async () => {
    expect(await readCgroupUsage(await v1(V1), '/pod')).toEqual({
      cpu: { usageNanoseconds: 4_312_345_678n, pressure: undefined },
      memory: { ...MEMORY, pressure: undefined },
      swap: SWAP,
      io: { pressure: undefined },
      tasks: 9,
    });
  });

  test('tells the details', async () => {
    expect(await readCgroupDetails(await v1(V1), '/pod', ['2MB'])).toEqual({
      cpu: {
        userNanoseconds: 3_000_001_000n,
        systemNanoseconds: 1_312_344_678n,
        periods: 120,
        throttledPeriods: 7,
        throttledNanoseconds: 2_500_000_000n,
      },
      memoryPeakBytes: 60000000,
      memoryLimitHits: 31,
      oomKills: 1,
      devices: DEVICES,
      taskLimit: 1024,
      hugepages: [{ pageSize: '2MB', usageBytes: 4194304, maxUsageBytes: 6291456 }],
    });
  });

  test('has no limit where it says the largest number of pages', async () => {
    const none = '9223372036854771712\n';
    const unlimited = { 'memory/memory.limit_in_bytes': none };
    const usage = await readCgroupUsage(
      await v1({ ...V1, ...unlimited, 'memory/memory.memsw.limit_in_bytes': none }),
      '/pod',
    );
    expect(usage?.memory?.limitBytes).toBeUndefined();
    expect(usage?.swap?.availableBytes).toBeUndefined();
  });
});

describe('a cgroup that', () => {
  test.each([['v2'], ['v1']] as const)('is gone has no usage (%s)', async (version) => {
    const layout = await (version === 'v2' ? v2(V2) : v1(V1));
    expect(await readCgroupUsage(layout, '/other')).toBeUndefined();
    expect(await readCgroupDetails(layout, '/other', ['2MB'])).toMatchObject({
      cpu: undefined,
      devices: [],
      hugepages: [],
    });
  });

  test.each([
    'nonsense',
    '',
    '-1\n',
    'NaN\n',
    '1e30\n',
    '99999999999999999999999999\n',
    'usage_usec -5\nanon x\n= =\n\0\0\0\n',
    'some avg10=x avg60=1 avg300=1 total=1\n',
    `some avg10=1.00 avg60=1.00 avg300=1.00 total=${'9'.repeat(40)}\n`,
    '8:0 rbytes=-1 wbytes=abc\n999999999999:0 Read 1\n',
    'x'.repeat(1 << 16),
  ])('holds nonsense is read as if that were not there (%#)', async (text) => {
    const garbled = (files: Record<string, string>) =>
      Object.fromEntries(Object.keys(files).map((name) => [name, text]));
    const first = await v2(garbled(V2));
    expect(await readCgroupUsage(first, '/pod')).toBeUndefined();
    expect((await readCgroupDetails(first, '/pod', ['2MB'])).devices).toEqual([]);
    const second = await v1(garbled(V1));
    expect(await readCgroupUsage(second, '/pod')).toBeUndefined();
    expect((await readCgroupDetails(second, '/pod', ['2MB'])).devices).toEqual([]);
  });

  test('lost one file still tells the rest', async () => {
    const { 'memory.current': _, ...rest } = V2;
    const usage = await readCgroupUsage(await v2(rest), '/pod');
    expect(usage).toMatchObject({ memory: undefined, tasks: 9 });
    expect(usage?.cpu?.usageNanoseconds).toBe(4_312_345_000n);
  });
});
