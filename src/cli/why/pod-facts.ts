import { messageOf } from '../../base/index.ts';
import {
  ContainerState,
  type ContainerStatus,
  ListContainersRequest,
  ListPodSandboxRequest,
  type PodSandbox,
  type RuntimeCondition,
  RuntimeServiceService,
} from '../../gen/runtime/v1/api.ts';
import type { CriClient } from '../cri-client.ts';
import { containerStatus } from '../status.ts';
import { podTraces } from '../trace/pod-traces.ts';
import { keptSpans, type Trace, tracesOf } from '../trace/spans.ts';

/** All that tells why a pod runs, or does not. */
export interface PodFacts {
  /** `NAMESPACE/NAME`, or what was asked for if nothing is known of it. */
  name: string;
  /** Undefined if there is no such sandbox. */
  sandbox: PodSandbox | undefined;
  /** Of each name the last attempt. */
  containers: readonly ContainerStatus[];
  /** Of the node. */
  conditions: readonly RuntimeCondition[];
  /** The calls that changed the pod, as far as the daemon remembers; the oldest first. */
  traces: readonly Trace[];
  /** Why the calls could not be asked for; undefined if they could. */
  tracesProblem: string | undefined;
  /** Unix time in milliseconds. */
  now: number;
}

/** Gathers what is known of a pod: `wanted` is its id, its name, or `NAMESPACE/NAME`. */
export async function podFacts(
  cri: CriClient,
  wanted: string,
  signal: AbortSignal,
): Promise<PodFacts> {
  const sandbox = await findSandbox(cri, wanted);
  const [status, containers, calls] = await Promise.all([
    cri.call(RuntimeServiceService.status, { verbose: false }, { action: 'Cannot ask the node' }),
    sandbox === undefined ? [] : lastContainers(cri, sandbox.id),
    remembered(cri, sandbox?.id ?? wanted, signal),
  ]);
  const { metadata } = sandbox ?? {};
  return {
    name:
      metadata === undefined ? (calls.name ?? wanted) : `${metadata.namespace}/${metadata.name}`,
    ...{ sandbox, containers, traces: calls.traces, tracesProblem: calls.problem },
    conditions: status.status?.conditions ?? [],
    now: Date.now(),
  };
}

/** The last sandbox of that id or name. */
async function findSandbox(cri: CriClient, wanted: string): Promise<PodSandbox | undefined> {
  const { items } = await cri.call(
    RuntimeServiceService.listPodSandbox,
    ListPodSandboxRequest.create(),
    { action: 'Cannot list pods' },
  );
  return items
    .filter(({ id, metadata }) => {
      const name = metadata?.name ?? '';
      return (
        id.startsWith(wanted) || name === wanted || `${metadata?.namespace}/${name}` === wanted
      );
    })
    .sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1))
    .at(-1);
}

async function lastContainers(cri: CriClient, podSandboxId: string): Promise<ContainerStatus[]> {
  const { containers } = await cri.call(
    RuntimeServiceService.listContainers,
    ListContainersRequest.fromPartial({ filter: { podSandboxId } }),
    { action: 'Cannot list containers' },
  );
  const last = new Map(
    containers
      .sort((a, b) => (a.metadata?.attempt ?? 0) - (b.metadata?.attempt ?? 0))
      .map(({ id, metadata }) => [metadata?.name ?? '', id]),
  );
  const answers = await Promise.all([...last.values()].map((id) => containerStatus(cri, id)));
  return answers.flatMap(({ status }) => status ?? []);
}

/** What the daemon remembers; it may have no admin server within reach. */
async function remembered(
  cri: CriClient,
  wanted: string,
  signal: AbortSignal,
): Promise<{ name?: string; traces: readonly Trace[]; problem: string | undefined }> {
  try {
    const found = podTraces(tracesOf(await keptSpans(cri, signal)), wanted);
    return { ...(found ?? { traces: [] }), problem: undefined };
  } catch (error) {
    signal.throwIfAborted();
    return { traces: [], problem: messageOf(error) };
  }
}

export function isRunning({ state }: ContainerStatus): boolean {
  return state === ContainerState.CONTAINER_RUNNING;
}
