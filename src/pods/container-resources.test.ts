import { describe, expect, test } from 'vitest';
import type { ContainerResources } from './config.ts';
import { oomScoreAdjFor, resourcesFor } from './container-resources.ts';
import type { HostFacts } from './pods.ts';

/** A host that can limit everything. */
const ABLE = {
  cgroups: { mode: 'unified', mountpoints: new Map() },
  hugepages: true,
  swapLimit: true,
  lowestOomScoreAdj: -1000,
} as unknown as HostFacts;

function limits(changes: object, host: Partial<HostFacts> = {}, pidsLimit?: number) {
  const wanted = { hugepageLimits: [], unified: {}, ...changes } as unknown as ContainerResources;
  return resourcesFor(wanted, { ...ABLE, ...host }, pidsLimit);
}

test('what is not limited is not written', () => expect(limits({})).toEqual({}));

test('limits are written in the terms of the runtime', () => {
  const cpu = { cpuShares: 2, cpuQuota: 50_000, cpuPeriod: 100_000 };
  expect(limits({ ...cpu, cpusetCpus: '0-1', cpusetMems: '0' }, {}, 99)).toEqual({
    cpu: { shares: 2, quota: 50_000, period: 100_000, cpus: '0-1', mems: '0' },
    pids: { limit: 99 },
  });
});

describe('swap', () => {
  test.each([
    ['is none beyond the memory unless asked for', { memoryLimit: 10 }, { limit: 10, swap: 10 }],
    ['is limited as asked', { memoryLimit: 10, memorySwapLimit: 15 }, { limit: 10, swap: 15 }],
    ['may be unlimited', { memoryLimit: 10, memorySwapLimit: -1 }, { limit: 10, swap: -1 }],
  ])('%s', (_what, wanted, memory) => expect(limits(wanted)).toEqual({ memory }));

  test('is not limited where the kernel cannot', () => {
    const wanted = { memoryLimit: 10, memorySwapLimit: 15 };
    expect(limits(wanted, { swapLimit: false })).toEqual({ memory: { limit: 10 } });
    expect(limits({ memorySwapLimit: 15 }, { swapLimit: false })).toEqual({});
  });
});

describe('huge pages', () => {
  const of = (limit: number) => ({ hugepageLimits: [{ pageSize: '2MB', limit }] });

  test('are limited, also to none', () => {
    expect(limits(of(0))).toEqual(of(0));
    expect(limits(of(4096))).toEqual(of(4096));
  });

  test('need no limit of 0 where the kernel cannot limit them', () => {
    expect(limits(of(0), { hugepages: false })).toEqual({});
  });

  test('cannot be had where the kernel cannot limit them', () => {
    expect(() => limits(of(4096), { hugepages: false })).toThrow(
      'Cannot limit 2MB pages: this host has no hugetlb cgroup',
    );
  });
});

describe('values of cgroup v2', () => {
  const unified = { 'memory.high': '1' };

  test('are handed on', () => expect(limits({ unified })).toEqual({ unified }));

  test.each(['legacy', 'hybrid'] as const)('are refused on a %s host', (mode) => {
    const cgroups = { mode, mountpoints: new Map<string, string>() };
    expect(() => limits({ unified }, { cgroups })).toThrow(
      `Cannot set cgroup v2 values: this host's cgroups are ${mode}`,
    );
    expect(limits({}, { cgroups })).toEqual({});
  });
});

test.each([
  [-997, -1000, -997],
  [-997, 0, 0],
  [500, 0, 500],
  [undefined, 0, undefined],
])('an oom_score_adj of %s on a host that may go down to %i', (wanted, lowest, given) => {
  expect(oomScoreAdjFor(wanted, { ...ABLE, lowestOomScoreAdj: lowest })).toBe(given);
});
