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
  const memory = {
    ...(limit === undefined ? {} : { limit }),
    ...(swap === undefined || !host.swapLimit ? {} : { swap }),
  };
  const cpu = {
    ...(wanted.cpuShares === undefined ? {} : { shares: wanted.cpuShares }),
    ...(wanted.cpuQuota === undefined ? {} : { quota: wanted.cpuQuota }),
    ...(wanted.cpuPeriod === undefined ? {} : { period: wanted.cpuPeriod }),
    ...(wanted.cpusetCpus === undefined ? {} : { cpus: wanted.cpusetCpus }),
    ...(wanted.cpusetMems === undefined ? {} : { mems: wanted.cpusetMems }),
  };
  const unified = unifiedFor(wanted, host);
  const hugepages = hugepagesFor(wanted, host);
  return {
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(pidsLimit === undefined ? {} : { pids: { limit: pidsLimit } }),
    ...(hugepages.length > 0 ? { hugepageLimits: hugepages } : {}),
    ...(Object.keys(unified).length > 0 ? { unified } : {}),
  };
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
