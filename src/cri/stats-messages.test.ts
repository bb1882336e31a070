import { expect, test } from 'vitest';
import { ContainerStats, PodSandboxStats } from '../gen/runtime/v1/api.ts';
import type { ContainerStatistics, Sample, SandboxStatistics } from '../pods/index.ts';
import { containerStats, sandboxStats } from './stats-messages.ts';

const pressure = {
  some: { avg10: 1.5, avg60: 0.8, avg300: 0.2, total: 5_000n },
  full: { avg10: 0.5, avg60: 0.2, avg300: 0.1, total: 1_000n },
};
const PSI = {
  Some: { Avg10: 1.5, Avg60: 0.8, Avg300: 0.2, Total: 5_000n },
  Full: { Avg10: 0.5, Avg60: 0.2, Avg300: 0.1, Total: 1_000n },
};

const sample: Sample = {
  at: '1700000000000000000',
  nanoCores: 250_000_000n,
  usage: {
    cpu: { usageNanoseconds: 4_000_000_000n, pressure },
    memory: {
      ...{ usageBytes: 100, workingSetBytes: 80, rssBytes: 60, cacheBytes: 20, kernelBytes: 1 },
      ...{ mappedFileBytes: 1, activeFileBytes: 1, inactiveFileBytes: 20, limitBytes: 500 },
      ...{ pageFaults: 7, majorPageFaults: 2, pressure },
    },
    swap: { usageBytes: 5, availableBytes: 6 },
    io: { pressure },
    tasks: 3,
  },
};

const container = {
  container: {
    id: 'c',
    config: { metadata: { name: 'app', attempt: 1 }, labels: {}, annotations: {} },
  },
  sample,
  writableLayer: { at: '1700000000000000001', usage: { bytes: 4096, inodes: 2 }, path: '/upper' },
} as unknown as ContainerStatistics;

const traffic = (bytes: number) => ({ bytes, packets: 1, errors: 2, dropped: 3 });

test('all that a container was measured to use is told', () => {
  const timestamp = 1_700_000_000_000_000_000n;
  expect(containerStats(container)).toMatchObject({
    attributes: { id: 'c', metadata: { name: 'app', attempt: 1 } },
    cpu: {
      timestamp,
      usageCoreNanoSeconds: { value: 4_000_000_000n },
      usageNanoCores: { value: 250_000_000n },
      psi: PSI,
    },
    memory: {
      timestamp,
      ...{ workingSetBytes: { value: 80n }, availableBytes: { value: 420n } },
      ...{ usageBytes: { value: 100n }, rssBytes: { value: 60n } },
      ...{ pageFaults: { value: 7n }, majorPageFaults: { value: 2n }, psi: PSI },
    },
    swap: { timestamp, swapUsageBytes: { value: 5n }, swapAvailableBytes: { value: 6n } },
    io: { timestamp, psi: PSI },
    writableLayer: {
      fsId: { mountpoint: '/upper' },
      usedBytes: { value: 4096n },
      inodesUsed: { value: 2n },
    },
  });
});

test('a pod has the counters of each interface, eth0 apart, and its processes', () => {
  const statistics = {
    sandbox: { id: 'p', config: { metadata: {}, labels: {}, annotations: {} } },
    sample,
    network: {
      at: '1700000000000000002',
      interfaces: ['eth1', 'eth0'].map((name, index) => ({
        ...{ name, received: traffic(10 + index), transmitted: traffic(20 + index) },
      })),
    },
    containers: [container],
  } as unknown as SandboxStatistics;
  const { linux } = sandboxStats(statistics);
  expect(linux?.network).toMatchObject({
    timestamp: 1_700_000_000_000_000_002n,
    defaultInterface: {
      ...{ name: 'eth0', rxBytes: { value: 11n }, rxErrors: { value: 2n } },
      ...{ txBytes: { value: 21n }, txErrors: { value: 2n } },
    },
    interfaces: [{ name: 'eth1', rxBytes: { value: 10n }, txBytes: { value: 20n } }],
  });
  expect(linux).toMatchObject({
    process: { processCount: { value: 3n } },
    ...{ cpu: { psi: PSI }, memory: { psi: PSI }, io: { psi: PSI } },
    containers: [{ attributes: { id: 'c' } }],
  });
  expect(PodSandboxStats.decode(PodSandboxStats.encode(sandboxStats(statistics)).finish())).toEqual(
    sandboxStats(statistics),
  );
});

test('what the kernel does not tell is left out', () => {
  const { usage } = sample;
  const bare = {
    ...container,
    writableLayer: undefined,
    sample: {
      ...{ at: '1', nanoCores: undefined },
      usage: {
        ...{ cpu: { usageNanoseconds: 1n, pressure: undefined }, memory: undefined },
        ...{ swap: undefined, io: { pressure: undefined }, tasks: usage.tasks },
      },
    },
  };
  const message = containerStats(bare);
  expect(message).toMatchObject({ memory: undefined, swap: undefined, io: undefined });
  expect(message).toMatchObject({
    writableLayer: undefined,
    cpu: { usageNanoCores: undefined, psi: undefined },
  });
  expect(ContainerStats.decode(ContainerStats.encode(message).finish())).toEqual(message);
});
