import { abandonOn } from './signals.ts';

interface Flight<T> {
  readonly result: Promise<T>;
  readonly abort: AbortController;
  waiting: number;
}

/**
 * Work that many callers may wait for: a second call with the same key joins the flight
 * that is under way instead of starting another. Each caller may give up alone; when the
 * last one has, the work's own signal aborts.
 */
export class Flights<T> {
  readonly #flights = new Map<string, Flight<T>>();

  async join(
    key: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    const running = this.#flights.get(key);
    // A flight whose last caller gave up is only landing: wait for it, then start anew.
    if (running?.abort.signal.aborted) {
      await abandonOn(
        signal,
        running.result.then(
          () => {},
          () => {},
        ),
      );
      return this.join(key, signal, work);
    }
    const flight = running ?? this.#start(key, work);
    flight.waiting++;
    try {
      return await abandonOn(signal, flight.result);
    } finally {
      flight.waiting--;
      if (flight.waiting === 0) flight.abort.abort(signal.reason);
    }
  }

  has(key: string): boolean {
    return this.#flights.has(key);
  }

  /** Resolves when no work is under way. */
  async landed(): Promise<void> {
    while (this.#flights.size > 0) {
      await Promise.allSettled([...this.#flights.values()].map((flight) => flight.result));
    }
  }

  #start(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const abort = new AbortController();
    const result = work(abort.signal).finally(() => this.#flights.delete(key));
    result.catch(() => {});
    const flight = { result, abort, waiting: 0 };
    this.#flights.set(key, flight);
    return flight;
  }
}
