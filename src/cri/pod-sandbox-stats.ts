import type {
  ListPodSandboxStatsRequest,
  ListPodSandboxStatsResponse,
  PodSandboxStats,
  PodSandboxStatsFilter,
  PodSandboxStatsRequest,
  PodSandboxStatsResponse,
  StreamPodSandboxStatsRequest,
  StreamPodSandboxStatsResponse,
} from '../gen/runtime/v1/api.ts';
import { inChunks } from './chunks.ts';
import type { CriContext, UnaryHandler } from './context.ts';
import { required } from './invalid.ts';
import { hasLabels } from './labels.ts';
import type { StreamHandler } from './server-stream.ts';
import { sandboxStats } from './stats-messages.ts';

export const podSandboxStats: UnaryHandler<
  PodSandboxStatsRequest,
  PodSandboxStatsResponse
> = async ({ pods, statistics }, request) => {
  const record = pods.sandboxes.get(required('pod_sandbox_id', request.podSandboxId));
  return { stats: sandboxStats(await statistics.sandbox(record)) };
};

export const listPodSandboxStats: UnaryHandler<
  ListPodSandboxStatsRequest,
  ListPodSandboxStatsResponse
> = async (context, { filter }) => ({ stats: await select(context, filter) });

export const streamPodSandboxStats: StreamHandler<
  StreamPodSandboxStatsRequest,
  StreamPodSandboxStatsResponse
> = async function* (context, { filter }) {
  for (const podSandboxStats of inChunks(await select(context, filter))) yield { podSandboxStats };
};

async function select(
  { pods, statistics }: CriContext,
  filter: PodSandboxStatsFilter | undefined,
): Promise<PodSandboxStats[]> {
  const records = pods.sandboxes
    .list()
    .filter(
      ({ id, state, config }) =>
        state.phase === 'ready' &&
        id.startsWith(filter?.id ?? '') &&
        hasLabels(config.labels, filter?.labelSelector ?? {}),
    );
  return (await Promise.all(records.map((record) => statistics.sandbox(record)))).map(sandboxStats);
}
