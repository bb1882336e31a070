import { ContainerState, type ContainerStatus } from '../../gen/runtime/v1/api.ts';
import { humanDuration, humanSize } from '../human.ts';
import type { Trace } from '../trace/spans.ts';

/** What shells and runtimes mean by these exit codes. */
const MEANINGS: Readonly<Record<number, string>> = {
  126: 'which shells use for a command that cannot be run',
  127: 'which shells use for a command that is not found',
};

const SIGNALS: Readonly<Record<number, string>> = {
  ...{ 1: 'SIGHUP', 2: 'SIGINT', 3: 'SIGQUIT', 4: 'SIGILL', 6: 'SIGABRT', 7: 'SIGBUS' },
  ...{ 8: 'SIGFPE', 9: 'SIGKILL', 11: 'SIGSEGV', 13: 'SIGPIPE', 15: 'SIGTERM' },
};

/** Milliseconds between two ticks of the clock that dates the file with the exit code. */
const CLOCK_TICK = 10;

interface Circumstances {
  traces: readonly Trace[];
  now: number;
}

/** Why a container does not run, in a sentence. */
export function explainContainer(container: ContainerStatus, given: Circumstances): string {
  const { metadata, state, createdAt } = container;
  const attempt = metadata?.attempt ? ` (attempt ${metadata.attempt})` : '';
  const subject = `Container "${metadata?.name}"${attempt}`;
  if (state === ContainerState.CONTAINER_CREATED) {
    return `${subject} was created ${since(createdAt, given.now)} ago and was not started.`;
  }
  return `${subject} ${ending(container, given)}.${whereToLook(container)}`;
}

function ending(container: ContainerStatus, given: Circumstances): string {
  const { exitCode, reason, message, startedAt, finishedAt } = container;
  const when = `${since(finishedAt, given.now)} ago`;
  if (reason === 'StartError')
    return `could not be started, ${when}: ${message.replace(/\.$/, '')}`;
  if (startedAt === 0n) return `was stopped ${when} before it was started`;
  const lasted = `after it ran for ${duration(Number((finishedAt - startedAt) / 1_000_000n))}`;
  if (reason === 'OOMKilled') return `was killed ${when}, ${lasted}, ${memoryReason(container)}`;
  if (message !== '') return `ended ${when}, ${lasted}: ${message}`;
  return `ended ${when}, ${lasted}, with exit code ${exitCode}${meaning(container, given)}`;
}

function memoryReason({ resources }: ContainerStatus): string {
  const limit = resources?.linux?.memoryLimitInBytes ?? 0n;
  return limit > 0n
    ? `because it wanted more memory than its limit of ${humanSize(limit, 3)}`
    : 'because its pod, or the node, was out of memory';
}

function meaning(container: ContainerStatus, { traces }: Circumstances): string {
  const { exitCode } = container;
  if (exitCode === 0) return ': it had done its work';
  const known = MEANINGS[exitCode];
  if (known !== undefined) return `, ${known}`;
  if (exitCode <= 128 || exitCode > 192) return '';
  const signal = SIGNALS[exitCode - 128] ?? `signal ${exitCode - 128}`;
  return `, which means that ${signal} ended it${wasStopped(container, traces)}`;
}

function wasStopped({ id, finishedAt }: ContainerStatus, traces: readonly Trace[]): string {
  const end = Number(finishedAt / 1_000_000n) + CLOCK_TICK;
  const stop = traces.findLast(
    ({ root: { name, attributes, startedAt } }) =>
      startedAt <= end &&
      (name === 'cri.StopPodSandbox' ||
        (name === 'cri.StopContainer' && attributes['containerId'] === id)),
  );
  return stop === undefined ? '' : ', as StopContainer or StopPodSandbox asked';
}

function whereToLook({ logPath, exitCode, startedAt }: ContainerStatus): string {
  const hasLog = logPath !== '' && exitCode !== 0 && startedAt !== 0n;
  return hasLog ? ` What it said last is in "${logPath}".` : '';
}

function since(nanoseconds: bigint, now: number): string {
  return duration(now - Number(nanoseconds / 1_000_000n));
}

/** Milliseconds in words, for the middle of a sentence. */
export function duration(milliseconds: number): string {
  return humanDuration(milliseconds).toLowerCase();
}
