import type {
  ListMetricDescriptorsRequest,
  ListMetricDescriptorsResponse,
  ListPodSandboxMetricsRequest,
  ListPodSandboxMetricsResponse,
  PodSandboxMetrics,
  StreamPodSandboxMetricsRequest,
  StreamPodSandboxMetricsResponse,
} from '../gen/runtime/v1/api.ts';
import { inChunks } from './chunks.ts';
import type { CriContext, UnaryHandler } from './context.ts';
import { metricDescriptors, sandboxMetrics } from './metrics/metric-messages.ts';
import type { StreamHandler } from './server-stream.ts';

/** Pods of one message: each has some hundred metrics for each container. */
const CHUNK = 10;

export const listMetricDescriptors: UnaryHandler<
  ListMetricDescriptorsRequest,
  ListMetricDescriptorsResponse
> = () => ({ descriptors: [...metricDescriptors] });

export const listPodSandboxMetrics: UnaryHandler<
  ListPodSandboxMetricsRequest,
  ListPodSandboxMetricsResponse
> = async (context) => ({ podMetrics: await measure(context) });

export const streamPodSandboxMetrics: StreamHandler<
  StreamPodSandboxMetricsRequest,
  StreamPodSandboxMetricsResponse
> = async function* (context) {
  for (const podSandboxMetrics of inChunks(await measure(context), CHUNK))
    yield { podSandboxMetrics };
};

async function measure({ pods, statistics }: CriContext): Promise<PodSandboxMetrics[]> {
  const ready = pods.sandboxes.list().filter(({ state }) => state.phase === 'ready');
  return (await Promise.all(ready.map((record) => statistics.measurements(record)))).map(
    sandboxMetrics,
  );
}
