import type { Command } from 'commander';
import { PodSandboxStatus, type PodSandboxStatusResponse } from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import { filterOptions, stateOption } from '../filters.ts';
import { ago, timestamp } from '../human.ts';
import { inspectAction } from '../inspect.ts';
import { listPods, POD_STATES, type PodFilters } from '../lists.ts';
import { protoJson } from '../proto-json.ts';
import { podStatus } from '../status.ts';
import { explainPod } from '../why/explain-pod.ts';
import { podFacts } from '../why/pod-facts.ts';

/** `keelson inspectp`: all about pods. */
export function configure(command: Command, context: Context): void {
  filterOptions(command, 'pods')
    .argument('[pod...]', 'ids, or beginnings of ids; without them the filters choose')
    .option('-s, --state <state>', 'only those in this state: ready, notready', (text: string) =>
      stateOption(POD_STATES)(text),
    );
  command.option('--why', 'only why it runs or does not, in words; a name will do, too');
  inspectAction<PodSandboxStatusResponse, PodFilters>(command, context, {
    ask: podStatus,
    data: ({ status, info }) => ({ status: status && statusJson(status), info }),
    details: ({ status }) => (status === undefined ? [] : details(status)),
    explain: async (cri, id) => explainPod(await podFacts(cri, id, context.signal)),
    find: async (cri, options) => (await listPods(cri, options)).map(({ id }) => id),
  });
}

function statusJson(status: PodSandboxStatus): unknown {
  return { ...protoJson(PodSandboxStatus, status), createdAt: timestamp(status.createdAt) };
}

function details(status: PodSandboxStatus) {
  const { metadata, network } = status;
  const lines: [string, string | Record<string, string>][] = [
    ['ID', status.id],
    ['Name', metadata?.name ?? ''],
    ['UID', metadata?.uid ?? ''],
    ['Namespace', metadata?.namespace ?? ''],
    ['Attempt', String(metadata?.attempt ?? 0)],
    ['Status', String(protoJson(PodSandboxStatus, status)['state'])],
    ['Created', ago(status.createdAt)],
  ];
  if (network !== undefined) lines.push(['IP Addresses', network.ip]);
  for (const { ip } of network?.additionalIps ?? []) lines.push(['Additional IP', ip]);
  lines.push(['Labels', status.labels], ['Annotations', status.annotations]);
  return lines;
}
