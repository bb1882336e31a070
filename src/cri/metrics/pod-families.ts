import { MetricType } from '../../gen/runtime/v1/api.ts';
import type { InterfaceUsage, SandboxMeasurements, Traffic } from '../../pods/index.ts';
import type { Family } from './family.ts';

const COUNTS: readonly { suffix: string; what: string; read: (traffic: Traffic) => number }[] = [
  { suffix: 'bytes', what: 'Bytes', read: ({ bytes }) => bytes },
  { suffix: 'packets', what: 'Packets', read: ({ packets }) => packets },
  { suffix: 'packets_dropped', what: 'Packets dropped', read: ({ dropped }) => dropped },
  { suffix: 'errors', what: 'Errors', read: ({ errors }) => errors },
];

const DIRECTIONS: readonly { name: string; read: (usage: InterfaceUsage) => Traffic }[] = [
  { name: 'receive', read: ({ received }) => received },
  { name: 'transmit', read: ({ transmitted }) => transmitted },
];

/** All metrics of a pod, as cAdvisor names them: those of its network. */
export const podFamilies: readonly Family<SandboxMeasurements>[] = DIRECTIONS.flatMap((direction) =>
  COUNTS.map(({ suffix, what, read }) => ({
    name: `container_network_${direction.name}_${suffix}_total`,
    help: `${what}, of what interfaces ${direction.name}.`,
    type: MetricType.COUNTER,
    labels: ['interface'],
    read: ({ network }: SandboxMeasurements) =>
      (network?.interfaces ?? []).map((usage) => ({
        value: read(direction.read(usage)),
        labels: [usage.name],
      })),
  })),
);
