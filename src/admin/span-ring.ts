import { type OpenSpan, onSpan, onSpanStart, type SpanRecord } from '../base/index.ts';

export interface SpanRingOptions {
  /** Spans that are kept. */
  spans?: number;
  /** Characters of their attributes and errors that are kept. */
  characters?: number;
  /** Of these, calls that led to nothing, such as lists: kubelets make several each second. */
  lone?: number;
}

/** Spans of one trace that are kept: one call cannot push out all others. */
const LONGEST_TRACE = 1000;

interface Trace {
  spans: SpanRecord[];
  characters: number;
}

type Follower = (span: SpanRecord | OpenSpan) => void;

/**
 * The spans that ended lately, whole traces of them: when there are too many the oldest
 * trace goes. Calls that led to nothing have a smaller place of their own.
 */
export class SpanRing implements Disposable {
  readonly #limits: Required<SpanRingOptions>;
  readonly #traces = new Map<number, Trace>();
  readonly #lone: SpanRecord[] = [];
  readonly #followers = new Set<Follower>();
  readonly #starters = new Set<Follower>();
  readonly #listening = new DisposableStack();
  #spans = 0;
  #characters = 0;

  constructor(options: SpanRingOptions = {}) {
    this.#limits = { spans: 4096, characters: 4 << 20, lone: 512, ...options };
    this.#listening.use(
      onSpan((span) => {
        this.#keep(span);
        for (const follower of this.#followers) follower(span);
      }),
    );
    this.#listening.use(
      onSpanStart((span) => {
        for (const follower of this.#starters) follower(span);
      }),
    );
  }

  /** What is kept, oldest first; the spans of a trace in the order in which they ended. */
  get spans(): SpanRecord[] {
    const traces = [...this.#traces.values()].map(({ spans }) => spans);
    const all = [...traces, ...this.#lone.map((span) => [span])];
    return all.sort((a, b) => (a[0]?.startedAt ?? 0) - (b[0]?.startedAt ?? 0)).flat();
  }

  /**
   * What comes, and before it what is kept unless `onlyNew`. With `starts` also spans that
   * start; they have no `milliseconds` yet. A reader that is too slow misses the oldest.
   */
  async *follow(
    signal: AbortSignal,
    { onlyNew = false, starts = false } = {},
  ): AsyncGenerator<SpanRecord | OpenSpan> {
    const queue: (SpanRecord | OpenSpan)[] = onlyNew ? [] : this.spans;
    let wake = () => {};
    const follower: Follower = (span) => {
      queue.push(span);
      if (queue.length > this.#limits.spans) queue.shift();
      wake();
    };
    signal.addEventListener('abort', () => wake(), { once: true });
    this.#followers.add(follower);
    if (starts) this.#starters.add(follower);
    try {
      while (!signal.aborted) {
        const span = queue.shift();
        if (span !== undefined) yield span;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#followers.delete(follower);
      this.#starters.delete(follower);
    }
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }

  #keep(span: SpanRecord): void {
    const trace = this.#traces.get(span.trace);
    if (trace === undefined && span.parent === undefined && span.error === undefined) {
      this.#lone.push(span);
      if (this.#lone.length > this.#limits.lone) this.#lone.shift();
      return;
    }
    if (trace === undefined)
      this.#traces.set(span.trace, this.#add({ spans: [], characters: 0 }, span));
    // The root, which ends last, says what all of it was.
    else if (trace.spans.length < LONGEST_TRACE || span.parent === undefined)
      this.#add(trace, span);
    while (this.#spans > this.#limits.spans || this.#characters > this.#limits.characters) {
      if (!this.#dropOldest(span.trace)) return;
    }
  }

  #add(trace: Trace, span: SpanRecord): Trace {
    const size = sizeOf(span);
    trace.spans.push(span);
    trace.characters += size;
    this.#spans++;
    this.#characters += size;
    return trace;
  }

  /** Answers false when only the trace named `but` is left. */
  #dropOldest(but: number): boolean {
    for (const [id, { spans, characters }] of this.#traces) {
      if (id === but) continue;
      this.#traces.delete(id);
      this.#spans -= spans.length;
      this.#characters -= characters;
      return true;
    }
    return false;
  }
}

function sizeOf({ name, attributes, error = '' }: SpanRecord): number {
  const values = Object.entries(attributes).map(([key, value]) => key.length + `${value}`.length);
  return values.reduce((sum, each) => sum + each, name.length + error.length);
}
