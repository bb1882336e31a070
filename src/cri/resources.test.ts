import { describe, expect, test } from 'vitest';
import { LinuxContainerResources } from '../gen/runtime/v1/api.ts';
import { NO_RESOURCES } from '../pods/index.ts';
import { fromResources, toResources } from './resources.ts';

const convert = (given: Parameters<typeof LinuxContainerResources.fromPartial>[0]) =>
  toResources('config.linux.resources', LinuxContainerResources.fromPartial(given));

const EVERYTHING = {
  ...{ cpuPeriod: 100_000n, cpuQuota: -1n, cpuShares: 2n },
  ...{ memoryLimitInBytes: 2n ** 40n, memorySwapLimitInBytes: 2n ** 41n },
  ...{ oomScoreAdj: -997n, cpusetCpus: '0-1', cpusetMems: '0' },
  hugepageLimits: [{ pageSize: '2MB', limit: 0n }],
  unified: { 'memory.high': '1' },
};

test('0 and nothing mean that there is no limit', () => {
  expect(convert({})).toEqual({ ...NO_RESOURCES, oomScoreAdj: 0 });
});

test('limits are read', () => {
  expect(convert(EVERYTHING)).toEqual({
    ...{ cpuPeriod: 100_000, cpuQuota: -1, cpuShares: 2 },
    ...{ memoryLimit: 2 ** 40, memorySwapLimit: 2 ** 41 },
    ...{ oomScoreAdj: -997, cpusetCpus: '0-1', cpusetMems: '0' },
    hugepageLimits: [{ pageSize: '2MB', limit: 0 }],
    unified: { 'memory.high': '1' },
  });
});

test('limits are told as they were given', () => {
  const message = LinuxContainerResources.fromPartial(EVERYTHING);
  expect(fromResources(convert(EVERYTHING))).toEqual(message);
  expect(fromResources(NO_RESOURCES)).toEqual(LinuxContainerResources.fromPartial({}));
});

describe('limits are refused', () => {
  test.each([
    [{ oomScoreAdj: 1001n }, 'oom_score_adj: 1001 is not between -1000 and 1000'],
    [{ oomScoreAdj: -1001n }, 'oom_score_adj: -1001 is not between'],
    [{ memoryLimitInBytes: 2n ** 60n }, 'memory_limit_in_bytes: 1152921504606846976 is out of'],
    [{ cpuQuota: -(2n ** 60n) }, 'cpu_quota'],
    [{ hugepageLimits: [{ pageSize: '1GB', limit: 2n ** 63n }] }, 'hugepage_limits'],
  ])('with %o', (given, reason) => expect(() => convert(given)).toThrow(reason));
});
