import { join } from 'node:path';
import {
  type Pressure,
  parseCount,
  parseFlatKeyed,
  parseLimit,
  parseNumber,
  parsePressure,
  readKernelFile,
} from './cgroup-values.ts';
import { type CgroupLayout, controllerDirectory } from './cgroups.ts';

/** What a cgroup and those below it use. A value is undefined where the kernel does not tell. */
export interface CgroupUsage {
  cpu: { usageNanoseconds: bigint; pressure: Pressure | undefined } | undefined;
  memory: MemoryUse | undefined;
  swap: { usageBytes: number; availableBytes: number | undefined } | undefined;
  io: { pressure: Pressure | undefined };
  /** Threads count, too: that is what the kernel limits. */
  tasks: number | undefined;
}

export interface MemoryUse {
  usageBytes: number;
  /** Without the file cache that can be had back first. */
  workingSetBytes: number;
  rssBytes: number;
  cacheBytes: number;
  mappedFileBytes: number;
  activeFileBytes: number;
  inactiveFileBytes: number;
  /** v2: stacks; v1: all memory of the kernel. */
  kernelBytes: number;
  /** Undefined: no limit. */
  limitBytes: number | undefined;
  pageFaults: number;
  majorPageFaults: number;
  pressure: Pressure | undefined;
}

/** The names of values in `memory.stat`. */
interface MemoryNames {
  rss: string;
  cache: string;
  mapped: string;
  active: string;
  inactive: string;
  faults: string;
  majorFaults: string;
}

const NAMES_V2: MemoryNames = {
  ...{ rss: 'anon', cache: 'file', mapped: 'file_mapped', active: 'active_file' },
  ...{ inactive: 'inactive_file', faults: 'pgfault', majorFaults: 'pgmajfault' },
};
const NAMES_V1: MemoryNames = {
  ...{ rss: 'total_rss', cache: 'total_cache', mapped: 'total_mapped_file' },
  ...{ active: 'total_active_file', inactive: 'total_inactive_file' },
  ...{ faults: 'total_pgfault', majorFaults: 'total_pgmajfault' },
};

/** Reads a cgroup's usage; undefined if it is gone. Nonsense in a file is as if it were not there. */
export async function readCgroupUsage(
  layout: CgroupLayout,
  path: string,
): Promise<CgroupUsage | undefined> {
  const usage = layout.mode === 'unified' ? await readV2(layout, path) : await readV1(layout, path);
  return usage.cpu === undefined && usage.memory === undefined ? undefined : usage;
}

async function readV2(layout: CgroupLayout, path: string): Promise<CgroupUsage> {
  const directory = controllerDirectory(layout, '', path) ?? '';
  const read = (file: string) => readKernelFile(join(directory, file));
  const [cpu, current, stat, max, swap, swapMax, pids, ...pressures] = await Promise.all([
    ...['cpu.stat', 'memory.current', 'memory.stat', 'memory.max'].map(read),
    ...['memory.swap.current', 'memory.swap.max', 'pids.current'].map(read),
    ...['cpu.pressure', 'memory.pressure', 'io.pressure'].map(read),
  ]);
  const [cpuPressure, memoryPressure, ioPressure] = pressures.map(parsePressure);
  const microseconds = parseFlatKeyed(cpu).get('usage_usec');
  const usage = parseNumber(current);
  const swapUsage = parseNumber(swap);
  const values = parseFlatKeyed(stat);
  return {
    cpu:
      microseconds === undefined
        ? undefined
        : { usageNanoseconds: BigInt(microseconds) * 1000n, pressure: cpuPressure },
    memory:
      usage === undefined
        ? undefined
        : {
            ...memoryUse(usage, values, NAMES_V2),
            kernelBytes: values.get('kernel_stack') ?? 0,
            limitBytes: parseLimit(max),
            pressure: memoryPressure,
          },
    swap: swapUsage === undefined ? undefined : swapUse(swapUsage, parseLimit(swapMax)),
    io: { pressure: ioPressure },
    tasks: parseNumber(pids),
  };
}

async function readV1(layout: CgroupLayout, path: string): Promise<CgroupUsage> {
  const read = (controller: string, file: string) => {
    const directory = controllerDirectory(layout, controller, path);
    return directory === undefined ? undefined : readKernelFile(join(directory, file));
  };
  const [cpu, current, stat, limit, kernel, both, bothLimit, pids] = await Promise.all([
    read('cpuacct', 'cpuacct.usage'),
    read('memory', 'memory.usage_in_bytes'),
    read('memory', 'memory.stat'),
    read('memory', 'memory.limit_in_bytes'),
    read('memory', 'memory.kmem.usage_in_bytes'),
    read('memory', 'memory.memsw.usage_in_bytes'),
    read('memory', 'memory.memsw.limit_in_bytes'),
    read('pids', 'pids.current'),
  ]);
  const usageNanoseconds = parseCount(cpu);
  const usage = parseNumber(current);
  const limitBytes = parseLimit(limit);
  return {
    cpu: usageNanoseconds === undefined ? undefined : { usageNanoseconds, pressure: undefined },
    memory:
      usage === undefined
        ? undefined
        : {
            ...memoryUse(usage, parseFlatKeyed(stat), NAMES_V1),
            kernelBytes: parseNumber(kernel) ?? 0,
            limitBytes,
            pressure: undefined,
          },
    swap: swapOfBoth(
      { memory: usage, both: parseNumber(both) },
      { memory: limitBytes, both: parseLimit(bothLimit) },
    ),
    io: { pressure: undefined },
    tasks: parseNumber(pids),
  };
}

function memoryUse(usage: number, stat: ReadonlyMap<string, number>, names: MemoryNames) {
  const value = (name: keyof MemoryNames) => stat.get(names[name]) ?? 0;
  return {
    usageBytes: usage,
    workingSetBytes: Math.max(0, usage - value('inactive')),
    rssBytes: value('rss'),
    cacheBytes: value('cache'),
    mappedFileBytes: value('mapped'),
    activeFileBytes: value('active'),
    inactiveFileBytes: value('inactive'),
    pageFaults: value('faults'),
    majorPageFaults: value('majorFaults'),
  };
}

/** v1 counts and limits memory and swap together; either may have changed between two reads. */
function swapOfBoth(
  usage: { memory: number | undefined; both: number | undefined },
  limit: { memory: number | undefined; both: number | undefined },
): CgroupUsage['swap'] {
  if (usage.memory === undefined || usage.both === undefined) return undefined;
  const swapLimit =
    limit.memory === undefined || limit.both === undefined ? undefined : limit.both - limit.memory;
  return swapUse(Math.max(0, usage.both - usage.memory), swapLimit);
}

function swapUse(usage: number, limit: number | undefined): CgroupUsage['swap'] {
  return {
    usageBytes: usage,
    availableBytes: limit === undefined ? undefined : Math.max(0, limit - usage),
  };
}
