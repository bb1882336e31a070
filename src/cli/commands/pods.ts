import type { Command } from 'commander';
import {
  ListPodSandboxResponse,
  type PodSandbox,
  PodSandboxState,
} from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import { filterOptions, stateOption } from '../filters.ts';
import { ago, truncatedId } from '../human.ts';
import { listPods, POD_STATES, type PodFilters } from '../lists.ts';
import { type Format, outputOption, print, printData, table } from '../output.ts';
import { protoJson } from '../proto-json.ts';

interface Options extends PodFilters {
  quiet?: boolean;
  /** Unless --no-trunc. */
  trunc?: boolean;
  output: Format;
}

/** `keelson pods`: lists pods. */
export function configure(command: Command, context: Context): void {
  filterOptions(command, 'pods')
    .option('--id <id>', 'only the pod with this id or beginning of one')
    .option('-s, --state <state>', 'only those in this state: ready, notready', (text: string) =>
      stateOption(POD_STATES)(text),
    )
    .option('-q, --quiet', 'only the ids')
    .option('--no-trunc', 'whole ids');
  outputOption(command, 'table').action(async (options: Options) => {
    const pods = await listPods(await context.cri(), options);
    if (options.quiet) return print(context.stdout, pods.map(({ id }) => `${id}\n`).join(''));
    if (options.output !== 'table') {
      const data = protoJson(ListPodSandboxResponse, { items: pods });
      return printData(context.stdout, options.output, data);
    }
    return print(context.stdout, podTable(pods, options.trunc ?? true));
  });
}

function podTable(pods: readonly PodSandbox[], truncate: boolean): string {
  const rows = pods.map((pod) => [
    truncate ? truncatedId(pod.id) : pod.id,
    ago(pod.createdAt),
    pod.state === PodSandboxState.SANDBOX_READY ? 'Ready' : 'NotReady',
    pod.metadata?.name ?? '',
    pod.metadata?.namespace ?? '',
    String(pod.metadata?.attempt ?? 0),
    pod.runtimeHandler || '(default)',
  ]);
  return table([
    ['POD ID', 'CREATED', 'STATE', 'NAME', 'NAMESPACE', 'ATTEMPT', 'RUNTIME'],
    ...rows,
  ]);
}
