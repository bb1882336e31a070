/**
 * One lock for each key, first come, first served. A key without holder or waiters takes
 * no memory.
 *
 *     using held = await locks.acquire(id, signal);
 */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<void>>();

  /** Rejects with the signal's reason if it aborts before the lock is had. */
  async acquire(key: string, signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted();
    const before = this.#tails.get(key);
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const tail = before === undefined ? released : before.then(() => released);
    this.#tails.set(key, tail);
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    if (before !== undefined) {
      try {
        await untilAborted(before, signal);
      } catch (error) {
        release();
        throw error;
      }
    }
    return { [Symbol.dispose]: release };
  }

  /** The number of keys that are held or waited for. */
  get size(): number {
    return this.#tails.size;
  }
}

function untilAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    void work.then(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
  });
}
