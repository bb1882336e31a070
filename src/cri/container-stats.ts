import type {
  ContainerStats,
  ContainerStatsFilter,
  ContainerStatsRequest,
  ContainerStatsResponse,
  ListContainerStatsRequest,
  ListContainerStatsResponse,
  StreamContainerStatsRequest,
  StreamContainerStatsResponse,
} from '../gen/runtime/v1/api.ts';
import { inChunks } from './chunks.ts';
import type { CriContext, UnaryHandler } from './context.ts';
import { required } from './invalid.ts';
import { hasLabels } from './labels.ts';
import type { StreamHandler } from './server-stream.ts';
import { containerStats } from './stats-messages.ts';

export const containerStatsRpc: UnaryHandler<
  ContainerStatsRequest,
  ContainerStatsResponse
> = async ({ pods, statistics }, request) => {
  const record = pods.containers.get(required('container_id', request.containerId));
  return { stats: containerStats(await statistics.container(record)) };
};

export const listContainerStats: UnaryHandler<
  ListContainerStatsRequest,
  ListContainerStatsResponse
> = async (context, { filter }) => ({ stats: await select(context, filter) });

export const streamContainerStats: StreamHandler<
  StreamContainerStatsRequest,
  StreamContainerStatsResponse
> = async function* (context, { filter }) {
  for (const containerStats of inChunks(await select(context, filter))) yield { containerStats };
};

/** Running containers; one that vanishes meanwhile is left out. */
async function select(
  { pods, statistics }: CriContext,
  filter: ContainerStatsFilter | undefined,
): Promise<ContainerStats[]> {
  const records = pods.containers
    .list()
    .filter(
      ({ id, sandboxId, state, config }) =>
        state.phase === 'running' &&
        id.startsWith(filter?.id ?? '') &&
        sandboxId.startsWith(filter?.podSandboxId ?? '') &&
        hasLabels(config.labels, filter?.labelSelector ?? {}),
    );
  const all = await Promise.all(records.map((record) => statistics.container(record)));
  return all.filter(({ sample }) => sample !== undefined).map(containerStats);
}
