interface Kept<T> {
  takenAt: number;
  /** Milliseconds. */
  lifetime: number;
  value: Promise<T>;
}

/** A value is not taken anew before this many times as long have passed as taking it took. */
const REST = 20;

/**
 * Values that cost something to take, by id. Each is given again for a while: callers come
 * in bursts. One that takes long is kept longer, so that taking it never is all that is done.
 */
export class KeptValues<T> {
  readonly #lifetime: number;
  readonly #kept = new Map<string, Kept<T>>();

  /** `lifetime` is in milliseconds. */
  constructor(lifetime: number) {
    this.#lifetime = lifetime;
  }

  /** The kept value, or what `take` answers, which must not fail. `last` is the value before. */
  get(id: string, take: (last: T | undefined) => Promise<T>): Promise<T> {
    const before = this.#kept.get(id);
    const start = performance.now();
    if (before !== undefined && start - before.takenAt < before.lifetime) return before.value;
    const kept: Kept<T> = {
      takenAt: start,
      lifetime: Number.POSITIVE_INFINITY,
      value: this.#take(take, before?.value).finally(() => {
        kept.lifetime = Math.max(this.#lifetime, (performance.now() - start) * REST);
      }),
    };
    this.#kept.set(id, kept);
    return kept.value;
  }

  delete(id: string): void {
    this.#kept.delete(id);
  }

  async #take(take: (last: T | undefined) => Promise<T>, before: Promise<T> | undefined) {
    return take(await before);
  }
}
