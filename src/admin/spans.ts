import { onSpan, type SpanRecord } from '../base/index.ts';
import type { Exchange } from './exchange.ts';
import { writeLines } from './ndjson.ts';

/** Spans that are kept. */
const SIZE = 4096;

/** The last spans that ended, and those to come. */
export class SpanRing implements Disposable {
  readonly #spans: SpanRecord[] = [];
  readonly #followers = new Set<(span: SpanRecord) => void>();
  readonly #listening: Disposable;

  constructor() {
    this.#listening = onSpan((span) => {
      this.#spans.push(span);
      if (this.#spans.length > SIZE) this.#spans.shift();
      for (const follower of this.#followers) follower(span);
    });
  }

  /** What is kept, oldest first. */
  get spans(): readonly SpanRecord[] {
    return this.#spans;
  }

  /** What is kept and then what comes. A reader that is too slow misses the oldest. */
  async *follow(signal: AbortSignal): AsyncGenerator<SpanRecord> {
    const queue = [...this.#spans];
    let wake = () => {};
    const follower = (span: SpanRecord) => {
      queue.push(span);
      if (queue.length > SIZE) queue.shift();
      wake();
    };
    signal.addEventListener('abort', () => wake(), { once: true });
    this.#followers.add(follower);
    try {
      while (!signal.aborted) {
        const span = queue.shift();
        if (span !== undefined) yield span;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#followers.delete(follower);
    }
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }
}

/** What was done lately; with `?follow` also what is done from now on. */
export async function streamSpans(
  ring: SpanRing,
  { query, response, signal }: Exchange,
): Promise<void> {
  const kept = async function* () {
    yield* ring.spans;
  };
  await writeLines(response, query.has('follow') ? ring.follow(signal) : kept());
}
