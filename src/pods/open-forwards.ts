/**
 * The connections forwarded into each sandbox. A network namespace lives on as long as a
 * socket of it does, so stopping a sandbox must end them.
 */
export class OpenForwards {
  readonly #bySandbox = new Map<string, Set<AbortController>>();

  /** A signal that aborts when the sandbox's forwards are ended. Dispose when the connection is over. */
  open(sandboxId: string): { signal: AbortSignal } & Disposable {
    const control = new AbortController();
    const open = this.#bySandbox.get(sandboxId) ?? new Set();
    this.#bySandbox.set(sandboxId, open.add(control));
    return {
      signal: control.signal,
      [Symbol.dispose]: () => {
        open.delete(control);
        if (open.size === 0 && this.#bySandbox.get(sandboxId) === open) {
          this.#bySandbox.delete(sandboxId);
        }
      },
    };
  }

  /** Ends all connections of a sandbox; `reason` is told to their clients. */
  end(sandboxId: string, reason: Error): void {
    for (const control of this.#bySandbox.get(sandboxId) ?? []) control.abort(reason);
  }
}
