import type { SpanRecord } from '../../base/index.ts';
import { isLook, type Trace } from './spans.ts';

/** Calls that use a pod and change nothing of it. */
const USES = /^cri\.(Exec|ExecSync|Attach|PortForward|ReopenContainerLog)$/;

/** What one pod went through. */
export interface PodTraces {
  /** `NAMESPACE/NAME`. */
  name: string;
  /** Of its last sandbox; undefined if none was ever made. */
  id: string | undefined;
  traces: readonly Trace[];
}

/**
 * The calls that made a pod what it is, also those that pulled its images. `wanted` is its
 * id or the beginning of it, its name, or `NAMESPACE/NAME`; of several pods with one name
 * the last one counts. Undefined if nothing is kept of it.
 */
export function podTraces(
  all: readonly Trace[],
  wanted: string,
  { uses = false } = {},
): PodTraces | undefined {
  const named = all.filter(({ root }) => isOf(root, wanted));
  const last = named.at(-1)?.root;
  if (last === undefined) return undefined;
  const uid = named.map(({ root }) => root.attributes['podUid']).findLast(Boolean);
  // A pull tells the pod that it is for, which may have no id yet.
  const own = all.filter(({ root }) => {
    const its = root.attributes['podUid'];
    return its === undefined ? isOf(root, wanted) : its === uid;
  });
  const changes = own.filter(
    ({ root }) => !isLook(root) && (uses || !USES.test(root.name) || root.error !== undefined),
  );
  const traces = [...new Set([...pullsFor(all, changes), ...changes])];
  const text = (key: string) => own.map(({ root }) => root.attributes[key]).findLast(Boolean);
  const id = text('podId');
  return {
    name: String(text('pod') ?? wanted),
    id: id === undefined ? undefined : String(id),
    traces: traces.sort((a, b) => a.root.startedAt - b.root.startedAt),
  };
}

function isOf({ attributes: { pod, podId } }: SpanRecord, wanted: string): boolean {
  const name = String(pod ?? '');
  return (
    wanted !== '' &&
    (name === wanted || name.endsWith(`/${wanted}`) || String(podId ?? '').startsWith(wanted))
  );
}

/** For each image that a container was made of, the last pull before: not all tell their pod. */
function pullsFor(all: readonly Trace[], changes: readonly Trace[]): Trace[] {
  const created = changes.filter(({ root }) => root.name === 'cri.CreateContainer');
  return created.flatMap(({ root: { attributes, startedAt } }) => {
    const pull = all.findLast(
      ({ root }) =>
        root.name === 'cri.PullImage' &&
        root.attributes['image'] === attributes['image'] &&
        root.startedAt <= startedAt,
    );
    return pull ?? [];
  });
}
