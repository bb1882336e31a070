import type { SpanRecord } from '../../base/index.ts';
import { printable } from '../human.ts';
import { durationOf, labelOf } from './labels.ts';
import type { Trace } from './spans.ts';

export interface TreeOptions {
  /** What stands before the root, such as its time. */
  prefix: string;
  /** Whether all attributes are shown, too. */
  details: boolean;
}

interface Row {
  /** Branches, and what was done. */
  text: string;
  /** '' for a line that only says more of the one above. */
  duration: string;
}

/** Columns that the durations stand behind, unless a line is longer. */
const WIDTH = 72;

/** A trace as a tree: what was done, how long it took, and why it failed. */
export function treeLines({ root, below }: Trace, { prefix, details }: TreeOptions): string[] {
  const children = Map.groupBy(below, (span) => (isIn(span, below) ? span.parent : root.id));
  const rows = rowsOf(root, { children, details, first: prefix, rest: ' '.repeat(prefix.length) });
  return rows.map(({ text, duration }) =>
    duration === '' ? text : `${text.padEnd(WIDTH + prefix.length)} ${duration.padStart(10)}`,
  );
}

interface Place {
  children: ReadonlyMap<number | undefined, readonly SpanRecord[]>;
  details: boolean;
  /** What stands before the span's own line, and before those below it. */
  first: string;
  rest: string;
}

/** Whether the parent of a span is known; of a long trace the daemon keeps only a part. */
function isIn({ parent }: SpanRecord, spans: readonly SpanRecord[]): boolean {
  return spans.some(({ id }) => id === parent);
}

function rowsOf(span: SpanRecord, place: Place): Row[] {
  const { children, details, first, rest } = place;
  const below = [...(children.get(span.id) ?? [])].sort(
    (a, b) => a.startedAt - b.startedAt || a.id - b.id,
  );
  const mark = span.error === undefined ? '' : '✗ ';
  const bar = below.length > 0 ? `${rest}│  ` : `${rest}   `;
  return [
    { text: `${first}${mark}${labelOf(span)}`, duration: durationOf(span.milliseconds) },
    ...(details ? attributeLines(span) : []).map((line) => ({ text: bar + line, duration: '' })),
    ...reasonOf(span, below).map((line) => ({ text: bar + line, duration: '' })),
    ...below.flatMap((child, index) => {
      const isLast = index === below.length - 1;
      return rowsOf(child, {
        ...{ children, details },
        first: `${rest}${isLast ? '└─ ' : '├─ '}`,
        rest: `${rest}${isLast ? '   ' : '│  '}`,
      });
    }),
  ];
}

/** Why a span failed, unless one below it says so. */
function reasonOf({ error }: SpanRecord, below: readonly SpanRecord[]): string[] {
  if (error === undefined || below.some((child) => child.error !== undefined)) return [];
  return [printable(error.replace(/\s*\n\s*/g, '; '))];
}

function attributeLines({ attributes }: SpanRecord): string[] {
  return Object.entries(attributes).map(([key, value]) => printable(`${key}: ${value}`));
}
