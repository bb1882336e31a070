import { type Command, Option } from 'commander';
import { KeelsonError } from '../../base/index.ts';
import type { Context } from '../context.ts';
import { ago } from '../human.ts';
import { print } from '../output.ts';
import { durationOf } from '../trace/labels.ts';
import { isShown, showLive, timedTree } from '../trace/live.ts';
import { type PodTraces, podTraces } from '../trace/pod-traces.ts';
import { hasEnded, keptSpans, readSpans, tracesOf } from '../trace/spans.ts';
import { treeLines } from '../trace/tree.ts';

interface Options {
  all?: boolean;
  details?: boolean;
  /** Unless --no-follow. */
  follow?: boolean;
  output: 'tree' | 'json';
}

/** `keelson trace`: what calls led to, live or of one pod. */
export function configure(command: Command, context: Context): void {
  command
    .argument('[pod]', 'how this pod came to be: its id, name, or NAMESPACE/NAME')
    .option('-a, --all', 'also calls that only look, and with a pod those that only use it')
    .option('-d, --details', 'all that is known of each step')
    .option('--no-follow', 'what was done lately, and no more')
    .addOption(
      new Option('-o, --output <format>', 'a tree, or one JSON object for each step')
        .choices(['tree', 'json'])
        .default('tree'),
    )
    .action(async (pod: string | undefined, options: Options) => {
      if (pod !== undefined) await showPod(context, pod, options);
      else if (options.follow ?? true) await follow(context, options);
      else await showKept(context, options);
    });
}

async function follow(context: Context, options: Options): Promise<void> {
  const spans = readSpans(await context.cri(), 'new', context.signal);
  if (options.output === 'tree') return showLive(context.stdout, spans, settled(options));
  for await (const span of spans) if (hasEnded(span)) await printJson(context, [span]);
}

async function showKept(context: Context, options: Options): Promise<void> {
  const spans = await keptSpans(await context.cri(), context.signal);
  if (options.output === 'json') return printJson(context, spans);
  const { all, details } = settled(options);
  for (const trace of tracesOf(spans)) {
    if (isShown(trace, { all })) await print(context.stdout, timedTree(trace, details));
  }
}

async function showPod(context: Context, pod: string, options: Options): Promise<void> {
  const spans = await keptSpans(await context.cri(), context.signal);
  const { all, details } = settled(options);
  const found = podTraces(tracesOf(spans), pod, { uses: all });
  if (found === undefined) {
    throw new KeelsonError('NOT_FOUND', `Cannot tell how pod "${pod}" came to be`, {
      reason: 'the daemon remembers no call about it',
      hint: 'it keeps the last calls only, and none from before its start',
    });
  }
  if (options.output === 'tree') return print(context.stdout, story(found, details));
  return printJson(
    context,
    found.traces.flatMap(({ root, below }) => [root, ...below]),
  );
}

function story({ name, id, traces }: PodTraces, details: boolean): string {
  const start = traces[0]?.root.startedAt ?? 0;
  const offset = (at: number) => `+${((at - start) / 1000).toFixed(3)} s`;
  const width = Math.max(0, ...traces.map(({ root }) => offset(root.startedAt).length)) + 2;
  const last = traces.at(-1)?.root;
  const lasted = last === undefined ? 0 : last.startedAt + last.milliseconds - start;
  const heading = [
    `Pod ${name}${id === undefined ? '' : ` (${id})`},`,
    `${traces.length} calls in ${durationOf(lasted)},`,
    `the first one ${ago(BigInt(start) * 1_000_000n)}`,
  ].join(' ');
  const lines = traces.flatMap((trace) => {
    const prefix = offset(trace.root.startedAt).padEnd(width);
    return treeLines(trace, { prefix, details });
  });
  return [heading, ...lines].map((line) => `${line}\n`).join('');
}

async function printJson(context: Context, spans: readonly object[]): Promise<void> {
  for (const span of spans) await print(context.stdout, `${JSON.stringify(span)}\n`);
}

function settled({ all = false, details = false }: Options) {
  return { all, details };
}
