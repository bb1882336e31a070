import { createInterface } from 'node:readline';
import type { OpenSpan, SpanRecord } from '../../base/index.ts';
import { askAdmin } from '../admin-client.ts';
import type { CriClient } from '../cri-client.ts';

/** `kept`: what was done lately; `new`: what is done from now on, with spans that start. */
export type SpanChoice = 'kept' | 'new';

const QUERY: Record<SpanChoice, string> = { kept: '', new: '?follow=new&starts' };

/** The daemon's spans, as they end. One that only starts has no `milliseconds`. */
export async function* readSpans(
  cri: CriClient,
  choice: SpanChoice,
  signal: AbortSignal,
): AsyncGenerator<SpanRecord | OpenSpan> {
  const answer = await askAdmin(cri, { path: `/spans${QUERY[choice]}`, signal });
  for await (const line of createInterface({ input: answer })) {
    yield JSON.parse(line) as SpanRecord | OpenSpan;
  }
}

/** What was done lately, all of it. */
export async function keptSpans(cri: CriClient, signal: AbortSignal): Promise<SpanRecord[]> {
  const spans: SpanRecord[] = [];
  for await (const span of readSpans(cri, 'kept', signal)) if (hasEnded(span)) spans.push(span);
  return spans;
}

export function hasEnded(span: SpanRecord | OpenSpan): span is SpanRecord {
  return 'milliseconds' in span;
}

/** One call and all that it led to. */
export interface Trace {
  root: SpanRecord;
  /** Without the root. */
  below: readonly SpanRecord[];
}

/** The traces whose root has ended, by the time they began. */
export function tracesOf(spans: readonly SpanRecord[]): Trace[] {
  const byTrace = Map.groupBy(spans, ({ trace }) => trace);
  return [...byTrace.values()]
    .flatMap((all) => {
      const root = all.find(({ parent }) => parent === undefined);
      return root === undefined ? [] : [{ root, below: all.filter((each) => each !== root) }];
    })
    .sort((a, b) => a.root.startedAt - b.root.startedAt);
}

const LOOKS =
  /^cri\.(Version|Status|RuntimeConfig|ImageFsInfo|GetContainerEvents|List\w+|Stream\w+|\w+Status|\w+Stats)$/;

/** Whether a call only looks at things. Kubelets make several such calls each second. */
export function isLook({ name }: { name: string }): boolean {
  return LOOKS.test(name);
}
