import { createHook } from 'node:async_hooks';
import { readdirSync } from 'node:fs';

export interface LiveResources {
  descriptors: number;
  /** Those that do not keep the process alive count, too. */
  timers: number;
}

/** Counts what this process holds: timers from now on, descriptors at the time of asking. */
export class ResourceCount implements Disposable {
  readonly #timers = new Set<number>();
  readonly #hook = createHook({
    init: (id, type) => {
      if (type === 'Timeout') this.#timers.add(id);
    },
    destroy: (id) => void this.#timers.delete(id),
  }).enable();

  get live(): LiveResources {
    return { descriptors: readdirSync('/proc/self/fd').length, timers: this.#timers.size };
  }

  [Symbol.dispose](): void {
    this.#hook.disable();
  }
}
