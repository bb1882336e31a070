import { Duplex } from 'node:stream';
import { chunkCost, type InboundBudget } from './inbound-budget.ts';

/** Larger chunks are sent in pieces, so that channels of one connection take turns. */
const PIECE = 32 * 1024;
/** Smaller chunks are copied, so that they do not keep the memory of a whole socket read. */
const COPY_BELOW = 16 * 1024;

type Done = (error?: Error | null) => void;

/** The connection that carries a channel. */
export interface ChannelCarrier {
  /** Sends a piece; `done` is called when the operating system has taken it. */
  send(piece: Buffer, done: Done): void;
  /** Tells the other side that no more will come. */
  sendEnd(done: Done): void;
  /** The channel is gone. Which of its directions had ended before? */
  closed(ended: { inbound: boolean; outbound: boolean }): void;
}

/**
 * One of several byte streams over one connection, with half-close. Writing waits for the
 * operating system; what was received and is not read counts against the connection's
 * budget. Errors only close it: whoever waits for it learns of them.
 */
export class ChannelStream extends Duplex {
  readonly #carrier: ChannelCarrier;
  readonly #budget: InboundBudget;
  readonly #received: Buffer[] = [];
  #receivedEnd = false;
  #wanted = false;

  constructor(carrier: ChannelCarrier, budget: InboundBudget) {
    // Nothing is kept beside the queue, whose size the budget knows.
    super({ readableHighWaterMark: 0, writableHighWaterMark: 2 * PIECE, allowHalfOpen: true });
    this.#carrier = carrier;
    this.#budget = budget;
    this.on('error', () => {});
  }

  /** Takes what arrived. After the end or once destroyed, it is dropped. */
  receive(chunk: Buffer): void {
    if (this.destroyed || this.#receivedEnd || chunk.length === 0) return;
    this.#budget.take(chunkCost(chunk.length));
    this.#received.push(chunk.length < COPY_BELOW ? copyOf(chunk) : chunk);
    if (this.#wanted) this._read();
  }

  /** The other side will send no more. */
  receiveEnd(): void {
    this.#receivedEnd = true;
    if (this.#wanted) this._read();
  }

  override _read(): void {
    const chunk = this.#received.shift();
    this.#wanted = chunk === undefined && !this.#receivedEnd;
    if (chunk !== undefined) {
      this.#budget.release(chunkCost(chunk.length));
      this.push(chunk);
    } else if (this.#receivedEnd) {
      this.push(null);
    }
  }

  override _write(chunk: Buffer, _encoding: string, done: Done): void {
    if (chunk.length <= PIECE) {
      this.#carrier.send(chunk, done);
      return;
    }
    this.#carrier.send(chunk.subarray(0, PIECE), (error) => {
      if (error) done(error);
      else this._write(chunk.subarray(PIECE), 'buffer', done);
    });
  }

  override _final(done: Done): void {
    this.#carrier.sendEnd(done);
  }

  override _destroy(error: Error | null, done: Done): void {
    const held = this.#received.splice(0);
    this.#carrier.closed({ inbound: this.#receivedEnd, outbound: this.writableFinished });
    if (held.length > 0) {
      this.#budget.release(held.reduce((sum, chunk) => sum + chunkCost(chunk.length), 0));
    }
    done(error);
  }
}

function copyOf(chunk: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(chunk.length);
  chunk.copy(copy);
  return copy;
}
