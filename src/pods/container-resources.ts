import { KeelsonError } from '../base/index.ts';
import type { Resources } from '../oci/spec/index.ts';
import type { ContainerResources } from './config.ts';
import type { HostFacts } from './pods.ts';

/**
 * Resource limits as the runtime takes them. What this host's kernel cannot limit is
 * refused, unless leaving it out changes nothing: kubelets send huge page limits of 0
 * and swap limits to all nodes.
 */
export function resourcesFor(
  wanted: ContainerResources,
  host: HostFacts,
  pidsLimit: number | undefined,
): Resources {
  const { memoryLimit: limit } = wanted;
  const swap = wanted.memorySwapLimit ?? limit;
  const memory = given({
    limit,
    swap: host.swapLimit ? swap : undefined,
    reservation: wanted.memoryReservation,
    ...legacyMemory(wanted, host),
  });
  const cpu = given({
    shares: wanted.cpuShares,
    quota: wanted.cpuQuota,
    period: wanted.cpuPeriod,
    cpus: wanted.cpusetCpus,
    mems: wanted.cpusetMems,
    ...realtime(wanted, host),
  });
  const pids = wanted.pidsLimit ?? pidsLimit;
  const unified = unifiedFor(wanted, host);
  const hugepages = hugepagesFor(wanted, host);
  return {
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
    ...(hugepages.length > 0 ? { hugepageLimits: hugepages } : {}),
    ...(Object.keys(unified).length > 0 ? { unified } : {}),
  };
}

type Given<T> = { [Key in keyof T]?: Exclude<T[Key], undefined> };

function given<T extends object>(values: T): Given<T> {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Given<T>;
}

function legacyMemory(wanted: ContainerResources, host: HostFacts) {
  return onlyLegacy(host, {
    swappiness: wanted.memorySwappiness,
    kernelTCP: wanted.kernelTcpLimit,
    disableOOMKiller: wanted.disableOomKiller,
  });
}

function realtime(wanted: ContainerResources, host: HostFacts) {
  return onlyLegacy(host, {
    realtimeRuntime: wanted.cpuRealtimeRuntime,
    realtimePeriod: wanted.cpuRealtimePeriod,
  });
}

/** Refuses what cgroup v2 has no more, and runtimes would leave out without a word. */
function onlyLegacy<T extends object>(host: HostFacts, values: T): T {
  const asked = Object.entries(values).find(([, value]) => value !== undefined);
  if (asked !== undefined && host.cgroups.mode === 'unified') {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot set ${asked[0]} of a container`, {
      reason: 'cgroup v2 has no such limit',
    });
  }
  return values;
}

/** Without CAP_SYS_RESOURCE nobody may be made safer from the OOM killer than the daemon is. */
export function oomScoreAdjFor(wanted: number | undefined, host: HostFacts): number | undefined {
  return wanted === undefined ? undefined : Math.max(wanted, host.lowestOomScoreAdj);
}

function unifiedFor(wanted: ContainerResources, host: HostFacts): Record<string, string> {
  if (Object.keys(wanted.unified).length > 0 && host.cgroups.mode !== 'unified') {
    throw new KeelsonError('INVALID_ARGUMENT', 'Cannot set cgroup v2 values', {
      reason: `this host's cgroups are ${host.cgroups.mode}`,
    });
  }
  return wanted.unified;
}

function hugepagesFor(
  wanted: ContainerResources,
  host: HostFacts,
): Resources['hugepageLimits'] & {} {
  if (host.hugepages) return wanted.hugepageLimits;
  const asked = wanted.hugepageLimits.find(({ limit }) => limit > 0);
  if (asked !== undefined) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot limit ${asked.pageSize} pages`, {
      reason: 'this host has no hugetlb cgroup',
    });
  }
  return [];
}
