import type { Metric, MetricDescriptor, PodSandboxMetrics } from '../../gen/runtime/v1/api.ts';
import type { ContainerMeasurements, SandboxMeasurements } from '../../pods/index.ts';
import { containerFamilies } from './container-families.ts';
import type { Family } from './family.ts';
import { podFamilies } from './pod-families.ts';

/** The labels of all metrics, before a metric's own. */
const LABELS = ['pod', 'namespace', 'container', 'id', 'image'];

/** What all metrics are: never changes while the daemon runs. */
export const metricDescriptors: readonly MetricDescriptor[] = [
  ...containerFamilies,
  ...podFamilies,
].map(({ name, help, labels }) => ({ name, help, labelKeys: [...LABELS, ...labels] }));

/** All that is known of a pod; a container that has gone meanwhile is left out. */
export function sandboxMetrics(measured: SandboxMeasurements): PodSandboxMetrics {
  const { sandbox, network, containers } = measured;
  const { name, namespace } = sandbox.config.metadata;
  const subject = { labels: [name, namespace, '', sandbox.id, ''], at: network?.at };
  return {
    podSandboxId: sandbox.id,
    metrics: metricsOf(podFamilies, measured, subject),
    containerMetrics: containers
      .filter(({ sample }) => sample !== undefined)
      .map((container) => ({
        containerId: container.container.id,
        metrics: metricsOf(containerFamilies, container, {
          labels: [name, namespace, ...containerLabels(container)],
          at: container.sample?.at,
        }),
      })),
  };
}

function containerLabels({ container }: ContainerMeasurements): string[] {
  const { metadata, image } = container.config;
  return [metadata.name, container.id, image.userSpecifiedImage || image.image];
}

function metricsOf<Subject>(
  families: readonly Family<Subject>[],
  subject: Subject,
  { labels, at }: { labels: readonly string[]; at: string | undefined },
): Metric[] {
  const timestamp = BigInt(at ?? 0);
  return families.flatMap(({ name, type, read }) =>
    read(subject).map((reading) => ({
      name,
      timestamp,
      metricType: type,
      labelValues: [...labels, ...(reading.labels ?? [])],
      value: { value: BigInt(reading.value) },
    })),
  );
}
