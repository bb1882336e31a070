import { codeOf, type Logger, messageOf } from '../../base/index.ts';

/** Milliseconds: the pause after the first failure, which doubles up to the longest. */
export interface BackOff {
  readonly first: number;
  readonly longest: number;
}

export interface ReconcilerOptions {
  readonly name: string;
  readonly logger: Logger;
  readonly backOff: BackOff;
  /** Keys worked on at the same time. One key never runs twice at once. */
  readonly workers: number;
  /** Brings one thing a step further. Failing means: again after a pause. */
  reconcile(key: string, signal: AbortSignal): Promise<void>;
  /** Told of each failure, for those who look at the object. */
  failed?(key: string, error: unknown): void;
}

interface Item {
  running: boolean;
  /** Asked for while it ran: it runs again. */
  again: boolean;
  failures: number;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Works off keys: each is reconciled when it is asked for, and again, with growing pauses,
 * until that succeeds. Asking for a key during such a pause does not shorten it, because a
 * failure that is written to the object is itself a change of it.
 */
export class Reconciler implements AsyncDisposable {
  readonly #options: ReconcilerOptions;
  readonly #items = new Map<string, Item>();
  readonly #ready: string[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #end = new AbortController();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  enqueue(key: string): void {
    if (this.#end.signal.aborted) return;
    const item = this.#items.get(key);
    if (item === undefined) {
      this.#items.set(key, { running: false, again: false, failures: 0, timer: undefined });
      this.#ready.push(key);
      this.#fill();
    } else if (item.running) {
      item.again = true;
    }
  }

  /** As `enqueue`, but ends the pause after a failure: something has changed that matters. */
  retryNow(key: string): void {
    const item = this.#items.get(key);
    if (item?.timer === undefined) {
      this.enqueue(key);
    } else {
      clearTimeout(item.timer);
      this.#release(key, item);
    }
  }

  /** Ends the pauses of all keys. */
  retryAll(): void {
    for (const key of [...this.#items.keys()]) this.retryNow(key);
  }

  /** Whether nothing is under way, waiting or in a pause. */
  get isIdle(): boolean {
    return this.#items.size === 0;
  }

  /** Aborts what is under way and waits until it has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    for (const { timer } of this.#items.values()) clearTimeout(timer);
    await Promise.allSettled(this.#running);
  }

  #fill(): void {
    while (this.#running.size < this.#options.workers) {
      const key = this.#ready.shift();
      const item = key === undefined ? undefined : this.#items.get(key);
      if (key === undefined || item === undefined) return;
      const work = this.#run(key, item).finally(() => {
        this.#running.delete(work);
        this.#fill();
      });
      this.#running.add(work);
    }
  }

  async #run(key: string, item: Item): Promise<void> {
    const { signal } = this.#end;
    if (signal.aborted) return;
    item.running = true;
    item.again = false;
    try {
      await this.#options.reconcile(key, signal);
      item.failures = 0;
    } catch (error) {
      item.failures++;
      if (!signal.aborted) this.#report(key, error, item.failures);
    }
    item.running = false;
    if (signal.aborted) return;
    if (item.failures > 0) this.#pause(key, item);
    else if (item.again) this.#ready.push(key);
    else this.#items.delete(key);
  }

  #pause(key: string, item: Item): void {
    const { first, longest } = this.#options.backOff;
    const pause = Math.min(longest, first * 2 ** (item.failures - 1));
    item.timer = setTimeout(() => this.#release(key, item), pause);
    item.timer.unref();
  }

  #release(key: string, item: Item): void {
    item.timer = undefined;
    this.#ready.push(key);
    this.#fill();
  }

  #report(key: string, error: unknown, failures: number): void {
    const { name, logger, failed } = this.#options;
    const fields = { controller: name, object: key, failures, error };
    const message = `cannot reconcile: ${messageOf(error)}`;
    // Said once aloud, not at each retry; a call that clashes with another is daily business.
    if (failures === 1 && codeOf(error) !== 'ABORTED') logger.warn(fields, message);
    else logger.debug(fields, message);
    failed?.(key, error);
  }
}
