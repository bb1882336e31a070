import { LinuxResources } from '../../gen/nri/v1alpha1/api.ts';
import { type ContainerResources, mergeResources } from '../../pods/index.ts';
import { refusal } from './refusal.ts';

/**
 * Limits with what a message asks for. Fails with INVALID_ARGUMENT for what no kernel or
 * no part of Keelson can do.
 */
export function withLimits(now: ContainerResources, asked: LinuxResources): ContainerResources {
  refuseClasses(asked);
  const { memory, cpu, pids } = asked;
  const hugepages = new Map(now.hugepageLimits.map((limit) => [limit.pageSize, limit]));
  for (const { pageSize, limit } of asked.hugepageLimits) {
    hugepages.set(pageSize, { pageSize, limit: toNumber('hugepage limit', limit) });
  }
  return mergeResources(now, {
    memoryLimit: number('memory limit', memory?.limit),
    memoryReservation: number('memory reservation', memory?.reservation),
    memorySwapLimit: number('swap limit', memory?.swap),
    kernelTcpLimit: number('kernel TCP limit', memory?.kernelTcp),
    memorySwappiness: number('swappiness', memory?.swappiness),
    disableOomKiller: memory?.disableOomKiller?.value,
    cpuShares: number('CPU shares', cpu?.shares),
    cpuQuota: number('CPU quota', cpu?.quota),
    cpuPeriod: number('CPU period', cpu?.period),
    cpuRealtimeRuntime: number('realtime runtime', cpu?.realtimeRuntime),
    cpuRealtimePeriod: number('realtime period', cpu?.realtimePeriod),
    cpusetCpus: cpu?.cpus || undefined,
    cpusetMems: cpu?.mems || undefined,
    pidsLimit: pids === undefined ? undefined : toNumber('pids limit', pids.limit),
    hugepageLimits: [...hugepages.values()],
    unified: asked.unified,
  });
}

/** Limits as plugins get to know them. */
export function limitsMessage(limits: ContainerResources): LinuxResources {
  return LinuxResources.fromPartial({
    memory: {
      limit: optional(limits.memoryLimit),
      reservation: optional(limits.memoryReservation),
      swap: optional(limits.memorySwapLimit),
      kernelTcp: optional(limits.kernelTcpLimit),
      swappiness: optional(limits.memorySwappiness),
      ...(limits.disableOomKiller === undefined
        ? {}
        : { disableOomKiller: { value: limits.disableOomKiller } }),
    },
    cpu: {
      shares: optional(limits.cpuShares),
      quota: optional(limits.cpuQuota),
      period: optional(limits.cpuPeriod),
      realtimeRuntime: optional(limits.cpuRealtimeRuntime),
      realtimePeriod: optional(limits.cpuRealtimePeriod),
      cpus: limits.cpusetCpus ?? '',
      mems: limits.cpusetMems ?? '',
    },
    hugepageLimits: limits.hugepageLimits.map(({ pageSize, limit }) => ({
      pageSize,
      limit: BigInt(limit),
    })),
    unified: limits.unified,
    ...(limits.pidsLimit === undefined ? {} : { pids: { limit: BigInt(limits.pidsLimit) } }),
  });
}

function refuseClasses({ memory, blockioClass }: LinuxResources): void {
  if (memory?.kernel !== undefined) {
    throw refusal('a kernel memory limit', 'kernels have none any more');
  }
  // Which is what all kernels do nowadays.
  if (memory?.useHierarchy?.value === false) {
    throw refusal('memory without hierarchy', 'kernels have none any more');
  }
  if (blockioClass !== undefined && blockioClass.value !== '') {
    throw refusal(
      `block I/O class "${blockioClass.value}"`,
      'Keelson has no classes of block I/O: set io.max and io.weight in "unified"',
    );
  }
}

function optional(value: number | undefined): { value: bigint } | undefined {
  return value === undefined ? undefined : { value: BigInt(value) };
}

function number(what: string, given: { value: bigint } | undefined): number | undefined {
  return given === undefined ? undefined : toNumber(what, given.value);
}

/** Fails for numbers that a double does not hold. */
export function toNumber(what: string, value: bigint): number {
  const result = Number(value);
  if (Number.isSafeInteger(result)) return result;
  throw refusal(`${what} ${value}`, 'the number is too large (-1 is for no limit)');
}
