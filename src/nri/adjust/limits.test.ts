import { expect, test } from 'vitest';
import { type DeepPartial, LinuxResources } from '../../gen/nri/v1alpha1/api.ts';
import { NO_RESOURCES } from '../../pods/index.ts';
import { limitsMessage, withLimits } from './limits.ts';

const ask = (wanted: DeepPartial<LinuxResources>, now = NO_RESOURCES) =>
  withLimits(now, LinuxResources.fromPartial(wanted));
const value = (number: number) => ({ value: BigInt(number) });

const ALL = {
  memory: {
    ...{ limit: value(100), reservation: value(50), swap: value(200), kernelTcp: value(5) },
    ...{ swappiness: value(0), disableOomKiller: { value: true } },
  },
  cpu: {
    ...{ shares: value(1), quota: value(-1), period: value(3), realtimeRuntime: value(4) },
    ...{ realtimePeriod: value(5), cpus: '0-1', mems: '0' },
  },
  hugepageLimits: [{ pageSize: '2MB', limit: 7n }],
  unified: { 'memory.high': '80' },
  pids: { limit: 9n },
};

test('all limits are taken, and shown as they were asked for', () => {
  const limits = ask(ALL);
  expect(limits).toMatchObject({
    ...{ memoryLimit: 100, memoryReservation: 50, memorySwapLimit: 200, kernelTcpLimit: 5 },
    ...{ memorySwappiness: 0, disableOomKiller: true, cpuShares: 1, cpuQuota: -1, cpuPeriod: 3 },
    ...{ cpuRealtimeRuntime: 4, cpuRealtimePeriod: 5, cpusetCpus: '0-1', cpusetMems: '0' },
    ...{ hugepageLimits: [{ pageSize: '2MB', limit: 7 }], unified: { 'memory.high': '80' } },
    pidsLimit: 9,
  });
  expect(limitsMessage(limits)).toEqual(LinuxResources.fromPartial(ALL));
});

test('what is not asked for stays', () => {
  const now = { ...NO_RESOURCES, cpuShares: 5, hugepageLimits: [{ pageSize: '1GB', limit: 1 }] };
  expect(ask({}, now)).toEqual(now);
  expect(ask({ hugepageLimits: [{ pageSize: '2MB', limit: 2n }] }, now).hugepageLimits).toEqual([
    { pageSize: '1GB', limit: 1 },
    { pageSize: '2MB', limit: 2 },
  ]);
});

test.each<[string, DeepPartial<LinuxResources>, string]>([
  ['kernel memory', { memory: { kernel: value(1) } }, 'a kernel memory limit'],
  ['no hierarchy', { memory: { useHierarchy: { value: false } } }, 'without hierarchy'],
  ['block I/O classes', { blockioClass: { value: 'slow' } }, 'block I/O class "slow"'],
  [
    'numbers that JSON cannot hold',
    { memory: { limit: { value: 2n ** 63n - 1n } } },
    'memory limit 9223372036854775807: the number is too large',
  ],
])('%s: refused', (_what, wanted, message) => expect(() => ask(wanted)).toThrow(message));

test('what all kernels do and what is empty can be asked for', () => {
  const nothing = { memory: { useHierarchy: { value: true } }, blockioClass: { value: '' } };
  expect(ask(nothing)).toEqual(NO_RESOURCES);
});
