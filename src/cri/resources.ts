import { LinuxContainerResources } from '../gen/runtime/v1/api.ts';
import type { ContainerResources } from '../pods/index.ts';
import { invalid, nonZero, toNumber } from './invalid.ts';

/** In CRI, 0 and '' mean that a limit is not given. */
export function toResources(field: string, given: LinuxContainerResources): ContainerResources {
  const number = (name: string, value: bigint) => nonZero(`${field}.${name}`, value);
  const oomScoreAdj = toNumber(`${field}.oom_score_adj`, given.oomScoreAdj);
  if (oomScoreAdj < -1000 || oomScoreAdj > 1000) {
    throw invalid(`${field}.oom_score_adj`, `${oomScoreAdj} is not between -1000 and 1000`);
  }
  return {
    cpuPeriod: number('cpu_period', given.cpuPeriod),
    cpuQuota: number('cpu_quota', given.cpuQuota),
    cpuShares: number('cpu_shares', given.cpuShares),
    memoryLimit: number('memory_limit_in_bytes', given.memoryLimitInBytes),
    memorySwapLimit: number('memory_swap_limit_in_bytes', given.memorySwapLimitInBytes),
    oomScoreAdj,
    cpusetCpus: given.cpusetCpus || undefined,
    cpusetMems: given.cpusetMems || undefined,
    hugepageLimits: given.hugepageLimits.map(({ pageSize, limit }) => ({
      pageSize,
      limit: toNumber(`${field}.hugepage_limits`, limit),
    })),
    unified: given.unified,
  };
}

export function fromResources(resources: ContainerResources): LinuxContainerResources {
  return LinuxContainerResources.fromPartial({
    cpuPeriod: BigInt(resources.cpuPeriod ?? 0),
    cpuQuota: BigInt(resources.cpuQuota ?? 0),
    cpuShares: BigInt(resources.cpuShares ?? 0),
    memoryLimitInBytes: BigInt(resources.memoryLimit ?? 0),
    memorySwapLimitInBytes: BigInt(resources.memorySwapLimit ?? 0),
    oomScoreAdj: BigInt(resources.oomScoreAdj ?? 0),
    cpusetCpus: resources.cpusetCpus ?? '',
    cpusetMems: resources.cpusetMems ?? '',
    hugepageLimits: resources.hugepageLimits.map(({ pageSize, limit }) => ({
      pageSize,
      limit: BigInt(limit),
    })),
    unified: resources.unified,
  });
}

/** CRI's ContainerResources as JSON, with the names and numbers that clients in Go expect. */
export function resourcesJson(resources: ContainerResources): object {
  return {
    linux: {
      cpu_period: resources.cpuPeriod,
      cpu_quota: resources.cpuQuota,
      cpu_shares: resources.cpuShares,
      memory_limit_in_bytes: resources.memoryLimit,
      memory_swap_limit_in_bytes: resources.memorySwapLimit,
      oom_score_adj: resources.oomScoreAdj,
      cpuset_cpus: resources.cpusetCpus,
      cpuset_mems: resources.cpusetMems,
      hugepage_limits: resources.hugepageLimits.map(({ pageSize, limit }) => ({
        page_size: pageSize,
        limit,
      })),
      unified: resources.unified,
    },
  };
}
