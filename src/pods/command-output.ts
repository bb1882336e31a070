import { type Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/**
 * Hands what a command writes on to a client, in full and no faster than the client takes
 * it. Without a taker it is read and dropped.
 */
export class CommandOutput {
  readonly #source: Readable;
  readonly #sink: Writable;
  readonly #closed: Promise<void>;
  #isOpen = true;
  #received = 0;

  constructor(source: Readable, taker: Writable | undefined, signal: AbortSignal) {
    this.#source = source;
    this.#sink = taker ?? new Writable({ write: (_chunk, _encoding, done) => done() });
    source.on('data', (chunk: Buffer) => {
      this.#received += chunk.length;
    });
    this.#closed = pipeline(source, this.#sink, { signal, end: false })
      // The client has left, or the source was given up: there is nobody to tell.
      .catch(() => {})
      .then(() => {
        this.#isOpen = false;
      });
  }

  /** Bytes that came so far. */
  get received(): number {
    return this.#received;
  }

  /**
   * Waits until the source has ended, or has brought nothing for so long although the client
   * would have taken it: a program left in the background may hold it open for ever.
   */
  async drained(idleMilliseconds: number): Promise<void> {
    for (let isIdle = false; this.#isOpen && !isIdle; ) {
      const before = this.#received;
      const wasBlocked = this.#sink.writableNeedDrain;
      await this.#closedWithin(idleMilliseconds);
      isIdle = this.#received === before && !wasBlocked && !this.#sink.writableNeedDrain;
    }
    this.#source.destroy();
    await this.#closed;
  }

  #closedWithin(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      void this.#closed.then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
