import type { Command } from 'commander';
import {
  ContainerState,
  ContainerStatus,
  type ContainerStatusResponse,
} from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import { filterOptions, stateOption } from '../filters.ts';
import { ago, timestamp } from '../human.ts';
import { inspectAction } from '../inspect.ts';
import { CONTAINER_STATES, type ContainerFilters, listContainers } from '../lists.ts';
import { protoJson } from '../proto-json.ts';
import { containerStatus } from '../status.ts';

/** `keelson inspect`: all about containers. */
export function configure(command: Command, context: Context): void {
  filterOptions(command, 'containers')
    .argument('[container...]', 'ids, or beginnings of ids; without them the filters choose')
    .option('-a, --all', 'in all states, not only running ones')
    .option('-p, --pod <id>', 'only those of this pod')
    .option('--image <image>', 'only those that run this image')
    .option(
      '-s, --state <state>',
      'only those in this state: created, running, exited, unknown',
      (text: string) => stateOption(CONTAINER_STATES)(text),
    );
  inspectAction<ContainerStatusResponse, ContainerFilters>(command, context, {
    ask: containerStatus,
    data: ({ status, info }) => ({ status: status && statusJson(status), info }),
    details: ({ status }) => (status === undefined ? [] : details(status)),
    find: async (cri, options) => (await listContainers(cri, options)).map(({ id }) => id),
  });
}

function statusJson(status: ContainerStatus): unknown {
  return {
    ...protoJson(ContainerStatus, status),
    createdAt: timestamp(status.createdAt),
    startedAt: timestamp(status.startedAt),
    finishedAt: timestamp(status.finishedAt),
  };
}

function details(status: ContainerStatus) {
  const { state } = status;
  const exited = state === ContainerState.CONTAINER_EXITED;
  const lines: [string, string | Record<string, string>][] = [
    ['ID', status.id],
    ['Name', status.metadata?.name ?? ''],
    ['Attempt', String(status.metadata?.attempt ?? 0)],
    ['State', String(protoJson(ContainerStatus, status)['state'])],
    ['Image', status.image?.image ?? ''],
    ['Created', ago(status.createdAt)],
  ];
  if (status.startedAt !== 0n) lines.push(['Started', ago(status.startedAt)]);
  if (exited && status.finishedAt !== 0n) lines.push(['Finished', ago(status.finishedAt)]);
  if (exited) lines.push(['Exit Code', String(status.exitCode)]);
  if (status.reason !== '') lines.push(['Reason', status.reason]);
  if (status.message !== '') lines.push(['Message', status.message]);
  if (status.logPath !== '') lines.push(['Log', status.logPath]);
  lines.push(['Labels', status.labels], ['Annotations', status.annotations]);
  return lines;
}
