import { KeelsonError } from '../../base/index.ts';
import { PodSandboxState } from '../../gen/runtime/v1/api.ts';
import { printable, truncatedId } from '../human.ts';
import type { Trace } from '../trace/spans.ts';
import { duration, explainContainer } from './explain-container.ts';
import { causeOf, openFailures } from './failed-calls.ts';
import { isRunning, type PodFacts } from './pod-facts.ts';

/** Why a pod does not run, or that it does, in one paragraph. Fails with NOT_FOUND if nothing is known. */
export function explainPod(facts: PodFacts): string {
  const sentences = isRunningWhole(facts) ? [runningSentence(facts)] : reasons(facts);
  return printable(sentences.join(' '));
}

function reasons(facts: PodFacts): string[] {
  return [
    facts.sandbox === undefined ? withoutSandbox(facts) : sandboxSentence(facts),
    ...facts.containers
      .filter((each) => !isRunning(each))
      .map((each) => explainContainer(each, facts)),
    ...failureSentences(facts),
    ...nodeSentences(facts),
    ...(facts.tracesProblem === undefined
      ? []
      : [`What calls led to could not be asked for: ${facts.tracesProblem}.`]),
  ];
}

function isReady({ sandbox }: PodFacts): boolean {
  return sandbox?.state === PodSandboxState.SANDBOX_READY;
}

function isRunningWhole(facts: PodFacts): boolean {
  const { containers } = facts;
  return (
    isReady(facts) &&
    containers.length > 0 &&
    containers.every(isRunning) &&
    openFailures(facts.traces).length === 0
  );
}

function subject({ name, sandbox }: PodFacts): string {
  return `Pod "${name}"${sandbox === undefined ? '' : ` (${truncatedId(sandbox.id)})`}`;
}

function runningSentence(facts: PodFacts): string {
  const count = facts.containers.length;
  const what = count === 1 ? 'its container runs' : `all its ${count} containers run`;
  return `${subject(facts)} is running: its sandbox is ready and ${what}.`;
}

function sandboxSentence(facts: PodFacts): string {
  const { containers } = facts;
  if (!isReady(facts)) return `${subject(facts)} does not run: ${stopped(facts)}.`;
  if (containers.length === 0) return `${subject(facts)} is ready, but it has no container.`;
  const idle = containers.filter((each) => !isRunning(each)).length;
  if (idle === 0) return `${subject(facts)} is ready and the containers that it has run.`;
  const all =
    containers.length === 1
      ? 'its container does'
      : `${idle} of its ${containers.length} containers do`;
  return `${subject(facts)} is ready, but ${all} not run.`;
}

function stopped({ traces, now }: PodFacts): string {
  const stop = lastCall(traces, 'cri.StopPodSandbox');
  if (stop === undefined) {
    return 'its sandbox is not ready, though no call that is remembered stopped it: its init process ended, or the daemon found it so at its start';
  }
  const when = duration(now - stop.root.startedAt);
  return stop.root.error === undefined
    ? `it was stopped ${when} ago, as StopPodSandbox asked`
    : `stopping it, ${when} ago, failed${causeOf(stop)}`;
}

function withoutSandbox(facts: PodFacts): string {
  const { traces, now } = facts;
  const last = traces.findLast(({ root }) => /^cri\.(Run|Remove)PodSandbox$/.test(root.name));
  if (last === undefined) {
    throw new KeelsonError('NOT_FOUND', `There is no pod "${facts.name}"`, {
      reason: 'no sandbox has this id or name, and the daemon remembers no call about one',
    });
  }
  const when = duration(now - last.root.startedAt);
  return last.root.name === 'cri.RunPodSandbox'
    ? `${subject(facts)} has no sandbox.`
    : `${subject(facts)} is gone: it was removed ${when} ago.`;
}

function failureSentences({ traces, now }: PodFacts): string[] {
  return openFailures(traces).map((trace) => {
    const when = duration(now - trace.root.startedAt);
    return `${attempt(trace)}, ${when} ago, failed${causeOf(trace)}.`;
  });
}

function attempt({ root: { name, attributes } }: Trace): string {
  const [, call = name] = name.split('.');
  if (call === 'PullImage') return `The last attempt to pull image "${attributes['image']}"`;
  if (call === 'RunPodSandbox') return 'The last attempt to make its sandbox';
  if (call === 'CreateContainer') {
    return `The last attempt to create container "${attributes['container']}"`;
  }
  return `The last ${call} of container "${attributes['container'] ?? attributes['containerId']}"`;
}

function nodeSentences({ conditions }: PodFacts): string[] {
  return conditions
    .filter(({ status }) => !status)
    .map(({ type, message }) => `The node is not ready for pods, as ${type} says: ${message}.`);
}

function lastCall(traces: readonly Trace[], name: string): Trace | undefined {
  return traces.findLast(({ root }) => root.name === name);
}
