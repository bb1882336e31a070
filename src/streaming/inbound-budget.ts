/** A held chunk costs more than its bytes: the objects around it. */
const CHUNK_OVERHEAD = 256;

/** What a chunk of `length` bytes counts for. */
export function chunkCost(length: number): number {
  return length + CHUNK_OVERHEAD;
}

/**
 * How much of what one client sent may wait for its readers, over all of its channels.
 * SPDY and the channels of Kubernetes have no windows: when the budget is used up, nothing
 * more is read from the connection, and TCP holds the client back.
 */
export class InboundBudget {
  readonly #limit: number;
  #held = 0;
  #room: PromiseWithResolvers<void> | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  take(cost: number): void {
    this.#held += cost;
  }

  release(cost: number): void {
    this.#held -= cost;
    if (this.#held > this.#limit / 2) return;
    this.#room?.resolve();
    this.#room = undefined;
  }

  get full(): boolean {
    return this.#held > this.#limit;
  }

  /** Resolves when half of the budget is free again. */
  room(): Promise<void> {
    if (!this.full) return Promise.resolve();
    this.#room ??= Promise.withResolvers<void>();
    return this.#room.promise;
  }

  /**
   * As `room`, calling `probe` each `interval` milliseconds. While nothing is read, a client that has gone
   * shows only when something is sent to it.
   */
  async roomProbing(probe: () => void, interval: number): Promise<void> {
    const timer = setInterval(probe, interval).unref();
    try {
      await this.room();
    } finally {
      clearInterval(timer);
    }
  }
}
