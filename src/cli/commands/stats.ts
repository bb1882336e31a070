import type { Command } from 'commander';
import { sleep } from '../../base/index.ts';
import {
  type ContainerStats,
  ContainerStatsFilter,
  ListContainerStatsResponse,
  RuntimeServiceService,
} from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import type { CriClient } from '../cri-client.ts';
import { count, label } from '../filters.ts';
import { humanSize, truncatedId } from '../human.ts';
import { type Format, outputOption, print, printData, table } from '../output.ts';
import { protoJson } from '../proto-json.ts';

interface Options {
  all?: boolean;
  id?: string;
  pod?: string;
  label?: Record<string, string>;
  seconds: number;
  watch?: boolean;
  output: Format;
}

const CLEAR_SCREEN = '\x1b[2J\x1b[H';

/** `keelson stats`: what containers use. */
export function configure(command: Command, context: Context): void {
  command
    .argument('[container]', 'only this one: its id, or the beginning of it')
    .option('-a, --all', 'also containers that do not run')
    .option('--id <id>', 'the same as the argument')
    .option('-p, --pod <id>', 'only those of this pod')
    .option('--label <key=value>', 'only those with this label (may be repeated)', label)
    .option('-s, --seconds <seconds>', 'how long to measure the use of CPU', count, 1)
    .option('-w, --watch', 'again and again');
  outputOption(command, 'table').action(async (id: string | undefined, options: Options) => {
    const cri = await context.cri();
    const ask = () => containerStats(cri, { ...options, id: id ?? options.id ?? '' });
    do {
      if (options.output === 'table') await showTable(ask, options, context);
      else {
        const data = protoJson(ListContainerStatsResponse, { stats: await ask() });
        await printData(context.stdout, options.output, data);
        if (options.watch) await sleep(options.seconds * 1000, context.signal);
      }
    } while (options.watch);
  });
}

async function containerStats(
  cri: CriClient,
  { id, pod, label }: { id: string; pod?: string; label?: Record<string, string> },
): Promise<ContainerStats[]> {
  const filter = ContainerStatsFilter.fromPartial({
    id,
    podSandboxId: pod ?? '',
    labelSelector: label ?? {},
  });
  const action = 'Cannot ask for statistics';
  const request = { filter };
  const { stats } = await cri.call(RuntimeServiceService.listContainerStats, request, { action });
  return stats.toSorted((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
}

async function showTable(
  ask: () => Promise<ContainerStats[]>,
  { all, seconds, watch }: Options,
  context: Context,
): Promise<void> {
  const before = new Map((await ask()).map((stats) => [idOf(stats), stats]));
  await sleep(seconds * 1000, context.signal);
  const rows = (await ask())
    .filter((stats) => all || isRunning(stats))
    .map((stats) => row(stats, before.get(idOf(stats))));
  const text = table([['CONTAINER', 'NAME', 'CPU %', 'MEM', 'DISK', 'INODES'], ...rows]);
  await print(context.stdout, watch && context.stdout.isTTY ? CLEAR_SCREEN + text : text);
}

function row(stats: ContainerStats, before: ContainerStats | undefined): string[] {
  return [
    truncatedId(idOf(stats)),
    stats.attributes?.metadata?.name ?? '',
    cpuPercent(stats, before),
    humanSize(stats.memory?.workingSetBytes?.value ?? 0n),
    humanSize(stats.writableLayer?.usedBytes?.value ?? 0n),
    String(stats.writableLayer?.inodesUsed?.value ?? 0n),
  ];
}

/** Of one CPU, between two samples. */
function cpuPercent(stats: ContainerStats, before: ContainerStats | undefined): string {
  const [now, then] = [stats.cpu, before?.cpu];
  const elapsed = (now?.timestamp ?? 0n) - (then?.timestamp ?? 0n);
  if (then === undefined || elapsed <= 0n) return '0.00';
  const used = (now?.usageCoreNanoSeconds?.value ?? 0n) - (then.usageCoreNanoSeconds?.value ?? 0n);
  return ((Number(used) / Number(elapsed)) * 100).toFixed(2);
}

function isRunning(stats: ContainerStats): boolean {
  const cpu = stats.cpu?.usageCoreNanoSeconds?.value ?? 0n;
  return cpu !== 0n || (stats.memory?.workingSetBytes?.value ?? 0n) !== 0n;
}

function idOf(stats: ContainerStats): string {
  return stats.attributes?.id ?? '';
}
