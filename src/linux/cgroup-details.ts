import { join } from 'node:path';
import {
  parseCount,
  parseFlatKeyed,
  parseLimit,
  parseNumber,
  readKernelFile,
} from './cgroup-values.ts';
import { type CgroupLayout, controllerDirectory } from './cgroups.ts';

/** What a cgroup tells beyond its usage. A value is undefined where the kernel does not tell. */
export interface CgroupDetails {
  cpu: CpuDetails | undefined;
  /** The most memory that was used at once. */
  memoryPeakBytes: number | undefined;
  /** How often memory was wanted beyond the limit. */
  memoryLimitHits: number | undefined;
  oomKills: number | undefined;
  devices: DeviceUse[];
  /** Undefined: no limit. */
  taskLimit: number | undefined;
  hugepages: HugepageUse[];
}

export interface CpuDetails {
  userNanoseconds: bigint;
  systemNanoseconds: bigint;
  periods: number;
  throttledPeriods: number;
  throttledNanoseconds: bigint;
}

/** What was read from and written to a block device. */
export interface DeviceUse {
  major: number;
  minor: number;
  readBytes: number;
  writtenBytes: number;
  reads: number;
  writes: number;
}

export interface HugepageUse {
  /** As the kernel names it, such as `2MB`. */
  pageSize: string;
  usageBytes: number;
  /** v2 does not count it. */
  maxUsageBytes: number | undefined;
}

type Read = (controller: string, file: string) => Promise<string | undefined>;

/**
 * Reads what only metrics need. `pageSizes` are those of the host's huge pages, such as
 * `2MB`. Nonsense in a file is as if it were not there.
 */
export function readCgroupDetails(
  layout: CgroupLayout,
  path: string,
  pageSizes: readonly string[],
): Promise<CgroupDetails> {
  const read: Read = async (controller, file) => {
    const directory = controllerDirectory(layout, controller, path);
    return directory === undefined ? undefined : readKernelFile(join(directory, file));
  };
  return layout.mode === 'unified' ? detailsV2(read, pageSizes) : detailsV1(read, pageSizes);
}

async function detailsV2(read: Read, pageSizes: readonly string[]): Promise<CgroupDetails> {
  const [cpu, peak, events, io, pids, ...huge] = await Promise.all(
    [
      ...['cpu.stat', 'memory.peak', 'memory.events', 'io.stat', 'pids.max'],
      ...pageSizes.map((size) => `hugetlb.${size}.current`),
    ].map((file) => read('', file)),
  );
  const time = parseFlatKeyed(cpu);
  const nanoseconds = (name: string) => BigInt(time.get(name) ?? 0) * 1000n;
  const memory = parseFlatKeyed(events);
  return {
    cpu: time.has('usage_usec')
      ? {
          userNanoseconds: nanoseconds('user_usec'),
          systemNanoseconds: nanoseconds('system_usec'),
          periods: time.get('nr_periods') ?? 0,
          throttledPeriods: time.get('nr_throttled') ?? 0,
          throttledNanoseconds: nanoseconds('throttled_usec'),
        }
      : undefined,
    memoryPeakBytes: parseNumber(peak),
    memoryLimitHits: memory.get('max'),
    oomKills: memory.get('oom_kill'),
    devices: parseIoStat(io),
    taskLimit: parseLimit(pids),
    hugepages: pageSizes.flatMap((pageSize, index) => {
      const usageBytes = parseNumber(huge[index]);
      return usageBytes === undefined ? [] : { pageSize, usageBytes, maxUsageBytes: undefined };
    }),
  };
}

async function detailsV1(read: Read, pageSizes: readonly string[]): Promise<CgroupDetails> {
  const [user, system, cpu, peak, failures, oom, bytes, operations, pids] = await Promise.all([
    read('cpuacct', 'cpuacct.usage_user'),
    read('cpuacct', 'cpuacct.usage_sys'),
    read('cpu', 'cpu.stat'),
    read('memory', 'memory.max_usage_in_bytes'),
    read('memory', 'memory.failcnt'),
    read('memory', 'memory.oom_control'),
    read('blkio', 'blkio.throttle.io_service_bytes_recursive'),
    read('blkio', 'blkio.throttle.io_serviced_recursive'),
    read('pids', 'pids.max'),
  ]);
  const userNanoseconds = parseCount(user);
  const throttling = parseFlatKeyed(cpu);
  return {
    cpu:
      userNanoseconds === undefined
        ? undefined
        : {
            userNanoseconds,
            systemNanoseconds: parseCount(system) ?? 0n,
            periods: throttling.get('nr_periods') ?? 0,
            throttledPeriods: throttling.get('nr_throttled') ?? 0,
            throttledNanoseconds: BigInt(throttling.get('throttled_time') ?? 0),
          },
    memoryPeakBytes: parseNumber(peak),
    memoryLimitHits: parseNumber(failures),
    oomKills: parseFlatKeyed(oom).get('oom_kill'),
    devices: parseBlkio(bytes, operations),
    taskLimit: parseLimit(pids),
    hugepages: await hugepagesV1(read, pageSizes),
  };
}

async function hugepagesV1(read: Read, pageSizes: readonly string[]): Promise<HugepageUse[]> {
  const all = await Promise.all(
    pageSizes.map(async (pageSize) => ({
      pageSize,
      usageBytes: parseNumber(await read('hugetlb', `hugetlb.${pageSize}.usage_in_bytes`)),
      maxUsageBytes: parseNumber(await read('hugetlb', `hugetlb.${pageSize}.max_usage_in_bytes`)),
    })),
  );
  return all.flatMap(({ usageBytes, ...rest }) =>
    usageBytes === undefined ? [] : { ...rest, usageBytes },
  );
}

/** `8:0 rbytes=0 wbytes=0 rios=0 wios=0 dbytes=0 dios=0`, a line for each device. */
function parseIoStat(text: string | undefined): DeviceUse[] {
  return (text ?? '').split('\n').flatMap((line) => {
    const [device, ...pairs] = line.split(' ');
    const values = parseFlatKeyed(pairs.map((pair) => pair.replace('=', ' ')).join('\n'));
    const use = {
      readBytes: values.get('rbytes') ?? 0,
      writtenBytes: values.get('wbytes') ?? 0,
      reads: values.get('rios') ?? 0,
      writes: values.get('wios') ?? 0,
    };
    const number = deviceNumber(device);
    return number === undefined || values.size === 0 ? [] : { ...number, ...use };
  });
}

/** `8:0 Read 4096`, a line for each device and operation; the last line is a total. */
function parseBlkio(bytes: string | undefined, operations: string | undefined): DeviceUse[] {
  const byDevice = (text: string | undefined) => {
    const lines = (text ?? '').split('\n').map((line) => line.split(' '));
    return new Map(
      lines.flatMap(([device = '', operation = '', count]): [string, number][] => {
        const number = parseNumber(count);
        return number === undefined ? [] : [[`${device} ${operation}`, number]];
      }),
    );
  };
  const [sizes, counts] = [byDevice(bytes), byDevice(operations)];
  const devices = new Set([...sizes.keys(), ...counts.keys()].map((key) => key.split(' ')[0]));
  return [...devices].flatMap((device) => {
    const number = deviceNumber(device);
    if (number === undefined) return [];
    return {
      ...number,
      readBytes: sizes.get(`${device} Read`) ?? 0,
      writtenBytes: sizes.get(`${device} Write`) ?? 0,
      reads: counts.get(`${device} Read`) ?? 0,
      writes: counts.get(`${device} Write`) ?? 0,
    };
  });
}

function deviceNumber(text: string | undefined): { major: number; minor: number } | undefined {
  const [, major, minor] = /^(\d{1,7}):(\d{1,7})$/.exec(text ?? '') ?? [];
  return major === undefined ? undefined : { major: Number(major), minor: Number(minor) };
}
