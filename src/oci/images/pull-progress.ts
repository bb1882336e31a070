import type { LayerProgress } from './layer-fetcher.ts';

/** How far a pull is. */
export interface PullProgress {
  /** The reference as it was asked for. */
  reference: string;
  phase: 'resolving' | 'fetching' | 'done';
  /** Base first; empty until the manifest is known. */
  layers: LayerProgress[];
}

export type ProgressListener = (progress: PullProgress) => void;

/** Milliseconds between two reports. */
const INTERVAL = 100;

/** Reports the progress of one pull to all who wait for it. */
export class ProgressReport implements Disposable {
  readonly reference: string;
  readonly #listeners = new Set<ProgressListener>();
  #layers: (() => LayerProgress[]) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #done = false;

  constructor(reference: string) {
    this.reference = reference;
  }

  get current(): PullProgress {
    const layers = this.#layers?.() ?? [];
    const phase = this.#done ? 'done' : this.#layers === undefined ? 'resolving' : 'fetching';
    return { reference: this.reference, phase, layers };
  }

  /** Reports to `listener` from now on, until the answer is disposed. */
  listen(listener: ProgressListener): Disposable {
    this.#listeners.add(listener);
    this.#timer ??= setInterval(() => this.#report(), INTERVAL).unref();
    listener(this.current);
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(listener);
        if (this.#listeners.size === 0) this.#stop();
      },
    };
  }

  /** The manifest is known: from now on `layers` tells how far they are. */
  fetching(layers: () => LayerProgress[]): void {
    this.#layers = layers;
  }

  done(): void {
    this.#done = true;
    this.#report();
  }

  [Symbol.dispose](): void {
    this.#listeners.clear();
    this.#stop();
  }

  #report(): void {
    if (this.#listeners.size === 0) return;
    const { current } = this;
    for (const listener of this.#listeners) listener(current);
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
