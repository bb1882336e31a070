import {
  ContainerStats,
  CpuUsage,
  IoUsage,
  MemoryUsage,
  type NetworkInterfaceUsage,
  NetworkUsage,
  PodSandboxStats,
  PsiStats,
  SwapUsage,
} from '../gen/runtime/v1/api.ts';
import type {
  ContainerStatistics,
  InterfaceUsage,
  NetworkSample,
  Pressure,
  Sample,
  SandboxStatistics,
} from '../pods/index.ts';

export function containerStats(statistics: ContainerStatistics): ContainerStats {
  const { container, sample, writableLayer } = statistics;
  const { metadata, labels, annotations } = container.config;
  return ContainerStats.fromPartial({
    attributes: { id: container.id, metadata, labels, annotations },
    ...usageMessages(sample),
    ...(sample?.usage.swap === undefined ? {} : { swap: swapMessage(sample) }),
    ...(writableLayer === undefined
      ? {}
      : {
          writableLayer: {
            timestamp: BigInt(writableLayer.at),
            fsId: { mountpoint: writableLayer.path },
            usedBytes: value(writableLayer.usage.bytes),
            inodesUsed: value(writableLayer.usage.inodes),
          },
        }),
  });
}

export function sandboxStats(statistics: SandboxStatistics): PodSandboxStats {
  const { sandbox, sample, network, containers } = statistics;
  const { metadata, labels, annotations } = sandbox.config;
  const tasks = sample?.usage.tasks;
  return PodSandboxStats.fromPartial({
    attributes: { id: sandbox.id, metadata, labels, annotations },
    linux: {
      ...usageMessages(sample),
      ...(network === undefined ? {} : { network: networkMessage(network) }),
      ...(tasks === undefined || sample === undefined
        ? {}
        : { process: { timestamp: BigInt(sample.at), processCount: value(tasks) } }),
      containers: containers.map(containerStats),
    },
  });
}

function usageMessages(sample: Sample | undefined) {
  if (sample === undefined) return {};
  const timestamp = BigInt(sample.at);
  const { cpu, memory, io } = sample.usage;
  return {
    ...(cpu === undefined
      ? {}
      : {
          cpu: CpuUsage.fromPartial({
            timestamp,
            usageCoreNanoSeconds: { value: cpu.usageNanoseconds },
            ...(sample.nanoCores === undefined
              ? {}
              : { usageNanoCores: { value: sample.nanoCores } }),
            ...psi(cpu.pressure),
          }),
        }),
    ...(memory === undefined
      ? {}
      : {
          memory: MemoryUsage.fromPartial({
            timestamp,
            workingSetBytes: value(memory.workingSetBytes),
            usageBytes: value(memory.usageBytes),
            rssBytes: value(memory.rssBytes),
            pageFaults: value(memory.pageFaults),
            majorPageFaults: value(memory.majorPageFaults),
            ...(memory.limitBytes === undefined
              ? {}
              : { availableBytes: value(Math.max(0, memory.limitBytes - memory.workingSetBytes)) }),
            ...psi(memory.pressure),
          }),
        }),
    ...(io.pressure === undefined
      ? {}
      : { io: IoUsage.fromPartial({ timestamp, ...psi(io.pressure) }) }),
  };
}

function swapMessage({ at, usage }: Sample): SwapUsage {
  const { usageBytes = 0, availableBytes } = usage.swap ?? {};
  return SwapUsage.fromPartial({
    timestamp: BigInt(at),
    swapUsageBytes: value(usageBytes),
    ...(availableBytes === undefined ? {} : { swapAvailableBytes: value(availableBytes) }),
  });
}

/** The interface that pods use by default, and the others apart from it. */
function networkMessage({ at, interfaces }: NetworkSample): NetworkUsage {
  const main = interfaces.find(({ name }) => name === 'eth0');
  return NetworkUsage.fromPartial({
    timestamp: BigInt(at),
    ...(main === undefined ? {} : { defaultInterface: interfaceMessage(main) }),
    interfaces: interfaces.filter((each) => each !== main).map(interfaceMessage),
  });
}

function interfaceMessage({ name, received, transmitted }: InterfaceUsage): NetworkInterfaceUsage {
  return {
    name,
    rxBytes: value(received.bytes),
    rxErrors: value(received.errors),
    txBytes: value(transmitted.bytes),
    txErrors: value(transmitted.errors),
  };
}

function psi(pressure: Pressure | undefined): { psi?: PsiStats } {
  if (pressure === undefined) return {};
  const line = ({ avg10, avg60, avg300, total }: Pressure['some']) => ({
    Avg10: avg10,
    Avg60: avg60,
    Avg300: avg300,
    Total: total,
  });
  return { psi: PsiStats.fromPartial({ Some: line(pressure.some), Full: line(pressure.full) }) };
}

function value(number: number): { value: bigint } {
  return { value: BigInt(Math.round(number)) };
}
