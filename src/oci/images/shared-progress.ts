/** How far a download is, told to the worker that unpacks it meanwhile. */
const RUNNING = 0;
const COMPLETE = 1;
const ABANDONED = 2;

/** Two 64-bit counters, then the state and a counter of changes to wait on. */
const BYTES = 24;

/**
 * Counters in memory that the event loop and a worker share. One side writes a blob to a
 * file and says how much of it is there; the other reads it, and says how far it is.
 */
export class SharedProgress {
  readonly buffer: SharedArrayBuffer;
  readonly #counters: BigInt64Array;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(BYTES)) {
    this.buffer = buffer;
    this.#counters = new BigInt64Array(buffer, 0, 2);
    this.#words = new Int32Array(buffer, 16, 2);
  }

  /** Bytes of the blob that are in the file. */
  get available(): number {
    return Number(Atomics.load(this.#counters, 0));
  }

  /** Bytes of the blob that have been unpacked. */
  get consumed(): number {
    return Number(Atomics.load(this.#counters, 1));
  }

  set consumed(bytes: number) {
    Atomics.store(this.#counters, 1, BigInt(bytes));
  }

  get complete(): boolean {
    return Atomics.load(this.#words, 0) === COMPLETE;
  }

  get abandoned(): boolean {
    return Atomics.load(this.#words, 0) === ABANDONED;
  }

  advance(available: number): void {
    Atomics.store(this.#counters, 0, BigInt(available));
    this.#changed(RUNNING);
  }

  finish(): void {
    this.#changed(COMPLETE);
  }

  /** The rest will not come. Final: nothing said later counts. */
  abandon(): void {
    this.#changed(ABANDONED);
  }

  /** Waits until more than `seen` bytes are there, or the download is over in either way. */
  async beyond(seen: number): Promise<void> {
    for (;;) {
      const changes = Atomics.load(this.#words, 1);
      if (this.available > seen || this.complete || this.abandoned) return;
      await Atomics.waitAsync(this.#words, 1, changes).value;
    }
  }

  #changed(state: number): void {
    if (!this.abandoned && state !== RUNNING) Atomics.store(this.#words, 0, state);
    Atomics.add(this.#words, 1, 1);
    Atomics.notify(this.#words, 1);
  }
}
