import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ifExists } from '../base/index.ts';
import { type CgroupLayout, controllerDirectory } from './cgroups.ts';

/** What a cgroup and those below it use. A value is undefined where the kernel does not tell. */
export interface CgroupUsage {
  cpu: { usageNanoseconds: bigint; pressure: Pressure | undefined } | undefined;
  memory: MemoryUse | undefined;
  swap: { usageBytes: number; availableBytes: number | undefined } | undefined;
  io: { pressure: Pressure | undefined };
  processes: number | undefined;
}

export interface MemoryUse {
  usageBytes: number;
  /** Without the file cache that can be had back first. */
  workingSetBytes: number;
  rssBytes: number;
  /** Undefined: no limit. */
  limitBytes: number | undefined;
  pageFaults: number;
  majorPageFaults: number;
  pressure: Pressure | undefined;
}

/** Pressure stall information: how long tasks waited for the resource (kernel docs, psi.rst). */
export interface Pressure {
  some: PressureLine;
  full: PressureLine;
}

/** Averages in percent, the total in nanoseconds. */
export interface PressureLine {
  avg10: number;
  avg60: number;
  avg300: number;
  total: bigint;
}

/** A v1 limit this large means that there is none: the kernel rounds the largest integer to pages. */
const NO_LIMIT = 2 ** 62;

/** Reads a cgroup's usage; undefined if it is gone. */
export async function readCgroupUsage(
  layout: CgroupLayout,
  path: string,
): Promise<CgroupUsage | undefined> {
  const usage = layout.mode === 'unified' ? await readV2(layout, path) : await readV1(layout, path);
  return usage.cpu === undefined && usage.memory === undefined ? undefined : usage;
}

async function readV2(layout: CgroupLayout, path: string): Promise<CgroupUsage> {
  const directory = controllerDirectory(layout, '', path) ?? '';
  const read = (file: string) => readText(join(directory, file));
  const [cpu, current, stat, max, swap, swapMax, pids, ...pressures] = await Promise.all([
    ...['cpu.stat', 'memory.current', 'memory.stat', 'memory.max'].map(read),
    ...['memory.swap.current', 'memory.swap.max', 'pids.current'].map(read),
    ...['cpu.pressure', 'memory.pressure', 'io.pressure'].map(read),
  ]);
  const [cpuPressure, memoryPressure, ioPressure] = pressures.map(parsePressure);
  return {
    cpu: cpu === undefined ? undefined : { ...parseCpuStat(cpu), pressure: cpuPressure },
    memory:
      current === undefined
        ? undefined
        : memoryUse(
            { usage: Number(current), limit: limitOf(max), pressure: memoryPressure },
            parseStat(stat ?? ''),
            { inactive: 'inactive_file', rss: 'anon', faults: 'pgfault', major: 'pgmajfault' },
          ),
    swap: swap === undefined ? undefined : swapUse(Number(swap), limitOf(swapMax)),
    io: { pressure: ioPressure },
    processes: pids === undefined ? undefined : Number(pids),
  };
}

async function readV1(layout: CgroupLayout, path: string): Promise<CgroupUsage> {
  const read = (controller: string, file: string) => {
    const directory = controllerDirectory(layout, controller, path);
    return directory === undefined ? undefined : readText(join(directory, file));
  };
  const [cpu, current, stat, limit, memsw, pids] = await Promise.all([
    read('cpuacct', 'cpuacct.usage'),
    read('memory', 'memory.usage_in_bytes'),
    read('memory', 'memory.stat'),
    read('memory', 'memory.limit_in_bytes'),
    read('memory', 'memory.memsw.usage_in_bytes'),
    read('pids', 'pids.current'),
  ]);
  const usage = Number(current ?? 0);
  return {
    cpu:
      cpu === undefined ? undefined : { usageNanoseconds: BigInt(cpu.trim()), pressure: undefined },
    memory:
      current === undefined
        ? undefined
        : memoryUse({ usage, limit: limitOf(limit), pressure: undefined }, parseStat(stat ?? ''), {
            ...{ inactive: 'total_inactive_file', rss: 'total_rss' },
            ...{ faults: 'total_pgfault', major: 'total_pgmajfault' },
          }),
    swap: memsw === undefined ? undefined : swapUse(Math.max(0, Number(memsw) - usage), undefined),
    io: { pressure: undefined },
    processes: pids === undefined ? undefined : Number(pids),
  };
}

function memoryUse(
  given: { usage: number; limit: number | undefined; pressure: Pressure | undefined },
  stat: ReadonlyMap<string, number>,
  names: { inactive: string; rss: string; faults: string; major: string },
): MemoryUse {
  return {
    usageBytes: given.usage,
    workingSetBytes: Math.max(0, given.usage - (stat.get(names.inactive) ?? 0)),
    rssBytes: stat.get(names.rss) ?? 0,
    limitBytes: given.limit,
    pageFaults: stat.get(names.faults) ?? 0,
    majorPageFaults: stat.get(names.major) ?? 0,
    pressure: given.pressure,
  };
}

function swapUse(usage: number, limit: number | undefined): CgroupUsage['swap'] {
  return {
    usageBytes: usage,
    availableBytes: limit === undefined ? undefined : Math.max(0, limit - usage),
  };
}

function parseCpuStat(text: string): { usageNanoseconds: bigint } {
  return { usageNanoseconds: BigInt(parseStat(text).get('usage_usec') ?? 0) * 1000n };
}

function parseStat(text: string): Map<string, number> {
  return new Map(
    text.split('\n').flatMap((line): [string, number][] => {
      const [key, value] = line.split(' ');
      return key && value ? [[key, Number(value)]] : [];
    }),
  );
}

function limitOf(text: string | undefined): number | undefined {
  const limit = Number(text ?? 'max');
  return Number.isFinite(limit) && limit < NO_LIMIT ? limit : undefined;
}

/** `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, in microseconds, and the same with `full`. */
export function parsePressure(text: string | undefined): Pressure | undefined {
  const line = (kind: string): PressureLine | undefined => {
    const match = new RegExp(
      `^${kind} avg10=([\\d.]+) avg60=([\\d.]+) avg300=([\\d.]+) total=(\\d+)`,
      'm',
    ).exec(text ?? '');
    if (match === null) return undefined;
    const [avg10 = 0, avg60 = 0, avg300 = 0] = match.slice(1, 4).map(Number);
    return { avg10, avg60, avg300, total: BigInt(match[4] ?? 0) * 1000n };
  };
  const some = line('some');
  if (some === undefined) return undefined;
  return { some, full: line('full') ?? { avg10: 0, avg60: 0, avg300: 0, total: 0n } };
}

/** A cgroup may vanish between any two reads. */
async function readText(path: string): Promise<string | undefined> {
  try {
    return await ifExists(readFile(path, 'utf8'));
  } catch {
    return undefined; // ENODEV: it is being removed; EOPNOTSUPP: pressure is switched off.
  }
}
