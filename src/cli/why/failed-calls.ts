import type { SpanRecord } from '../../base/index.ts';
import type { Trace } from '../trace/spans.ts';

const MAKING = /^cri\.(RunPodSandbox|PullImage|CreateContainer|StartContainer)$/;

/** The calls that make a pod whose last attempt failed: what succeeded later is no matter any more. */
export function openFailures(traces: readonly Trace[]): Trace[] {
  const last = new Map<string, Trace>();
  for (const trace of traces) {
    const { name, attributes } = trace.root;
    if (!MAKING.test(name)) continue;
    const { image, containerId } = attributes;
    const what = name === 'cri.PullImage' ? image : (attributes['container'] ?? containerId);
    last.set(`${name} ${what ?? ''}`, trace);
  }
  return [...last.values()].filter(({ root }) => root.error !== undefined);
}

/** ` in the step "…": why`, from the innermost span that failed. */
export function causeOf({ root, below }: Trace): string {
  const path: SpanRecord[] = [root];
  for (let span: SpanRecord | undefined = root; span !== undefined; ) {
    const { id }: SpanRecord = span;
    span = below.find(
      ({ parent, error, name }) =>
        parent === id && error !== undefined && !name.startsWith('undo '),
    );
    if (span !== undefined) path.push(span);
  }
  const inner = path.at(-1) ?? root;
  // Names with dots are calls of others; steps have names for people.
  const step = path.findLast(({ name }) => !name.includes('.'));
  const where = step === undefined ? '' : ` in the step "${step.name}"`;
  return `${where}: ${(inner.error ?? '').replace(/\s*\n\s*/g, '; ').replace(/\.$/, '')}`;
}
