import type { OpenSpan, SpanRecord } from '../../base/index.ts';
import { type Output, print } from '../output.ts';
import { durationOf, labelOf } from './labels.ts';
import { hasEnded, isLook, type Trace } from './spans.ts';
import { treeLines } from './tree.ts';

export interface LiveOptions {
  /** Also calls that only look, and led to nothing. */
  all: boolean;
  details: boolean;
}

/** Lines of what is under way, at most. */
const MOST_LINES = 10;
/** Calls that are under way for less than these milliseconds are not worth a line. */
const SHORT = 200;
const REDRAW = 250;
/** Traces that are remembered at most: some may never end. */
const MOST_TRACES = 1000;

interface Begun {
  ended: SpanRecord[];
  /** In the order in which they began. */
  open: Map<number, OpenSpan>;
}

/**
 * Shows calls as trees when they have ended. On a terminal the lines below tell what is
 * under way.
 */
export async function showLive(
  output: Output,
  spans: AsyncIterable<SpanRecord | OpenSpan>,
  options: LiveOptions,
): Promise<void> {
  const traces = new Map<number, Begun>();
  using status = new StatusLines(output, () => statusLines(traces, options));
  for await (const span of spans) {
    const trace = traceOf(traces, span);
    if (!hasEnded(span)) {
      trace.open.set(span.id, span);
      continue;
    }
    trace.open.delete(span.id);
    if (span.parent !== undefined) {
      trace.ended.push(span);
      continue;
    }
    traces.delete(span.trace);
    const { ended } = trace;
    if (isShown({ root: span, below: ended }, options)) {
      await status.above(timedTree({ root: span, below: ended }, options.details));
    }
  }
}

/** Whether a call is worth seeing. */
export function isShown({ root, below }: Trace, { all }: Pick<LiveOptions, 'all'>): boolean {
  return all || !isLook(root) || below.length > 0 || root.error !== undefined;
}

/** A tree that begins with the time of day, in UTC. */
export function timedTree(trace: Trace, details: boolean): string {
  const time = new Date(trace.root.startedAt).toISOString().slice(11, 23);
  const lines = treeLines(trace, { prefix: `${time}  `, details });
  return lines.map((line) => `${line}\n`).join('');
}

function traceOf(traces: Map<number, Begun>, { trace }: OpenSpan): Begun {
  const known = traces.get(trace);
  if (known !== undefined) return known;
  const begun: Begun = { ended: [], open: new Map() };
  traces.set(trace, begun);
  const [oldest] = traces.keys();
  if (traces.size > MOST_TRACES && oldest !== undefined) traces.delete(oldest);
  return begun;
}

function statusLines(traces: ReadonlyMap<number, Begun>, options: LiveOptions): string[] {
  const now = Date.now();
  const lines = [...traces.values()].flatMap(({ open }) => {
    const [root, ...below] = open.values();
    if (root === undefined || now - root.startedAt < SHORT) return [];
    if (!options.all && isLook(root)) return [];
    const path = [root, ...below].map(labelOf).join(' › ');
    return `… ${durationOf(now - root.startedAt).padStart(8)}  ${path}`;
  });
  const more = lines.length - MOST_LINES;
  return more > 0 ? [...lines.slice(0, MOST_LINES), `… and ${more} more`] : lines;
}

/** Lines at the bottom of a terminal, drawn anew while others are written above them. */
class StatusLines implements Disposable {
  readonly #output: Output;
  readonly #read: () => string[];
  readonly #timer: NodeJS.Timeout | undefined;
  #drawn = 0;

  constructor(output: Output, read: () => string[]) {
    this.#output = output;
    this.#read = read;
    if (output.isTTY) this.#timer = setInterval(() => this.#draw(''), REDRAW).unref();
  }

  /** Writes a text above the lines. */
  async above(text: string): Promise<void> {
    if (this.#output.isTTY) this.#draw(text);
    else await print(this.#output, text);
  }

  #draw(text: string): void {
    const width = (this.#output.columns ?? 80) - 1;
    const lines = this.#read().map((line) => line.slice(0, width));
    if (text === '' && lines.length === 0 && this.#drawn === 0) return;
    // Up to where the lines begin, and clear from there on.
    const back = this.#drawn === 0 ? '' : `\x1b[${this.#drawn}A`;
    this.#output.write(`${back}\r\x1b[J${text}${lines.map((line) => `${line}\n`).join('')}`);
    this.#drawn = lines.length;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    if (this.#drawn > 0) this.#output.write(`\x1b[${this.#drawn}A\r\x1b[J`);
  }
}
