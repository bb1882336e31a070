import { KeelsonError } from '../../base/index.ts';
import { FrameReader, MESSAGE_FORMAT } from './frames.ts';
import { payloadOf, RESPONSE, readHeader, requestMessage } from './messages.ts';

export interface Call {
  service: string;
  method: string;
  /** The encoded request message. */
  payload: Uint8Array;
  /** Milliseconds, as the peer is told. */
  timeout: number;
}

interface Waiting {
  action: string;
  resolve(payload: Uint8Array): void;
  reject(error: unknown): void;
}

/** The calling end of a ttrpc connection: unary calls, any number at a time. */
export class TtrpcClient {
  readonly #send: (message: Buffer) => void;
  readonly #reader: FrameReader;
  readonly #waiting = new Map<number, Waiting>();
  #nextStream = 1;
  #closed: Error | undefined;

  constructor(send: (message: Buffer) => void) {
    this.#send = send;
    this.#reader = new FrameReader(MESSAGE_FORMAT, (header, payload) =>
      this.#take(header, payload),
    );
  }

  /**
   * Answers the encoded response. Fails with the code that the peer answered, and with the
   * reason given to `close`, which is for the caller to call when it has waited enough.
   */
  call({ service, method, payload, timeout }: Call): Promise<Uint8Array> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      const streamId = this.#nextStream;
      const message = requestMessage(streamId, { service, method, payload, timeout });
      // Those of a client are odd.
      this.#nextStream += 2;
      const action = `Call of ${method} failed`;
      this.#waiting.set(streamId, { action, resolve, reject });
      this.#send(message);
    });
  }

  /** Takes bytes from the peer. Fails when they are not what a server says. */
  receive(bytes: Buffer): void {
    this.#reader.push(bytes);
  }

  /** Fails all calls under way, and those to come. */
  close(reason: Error): void {
    this.#closed ??= reason;
    for (const { reject } of this.#waiting.values()) reject(this.#closed);
    this.#waiting.clear();
  }

  #take(header: Buffer, payload: Buffer): void {
    const { streamId, type } = readHeader(header);
    const waiting = this.#waiting.get(streamId);
    if (type !== RESPONSE || waiting === undefined) {
      throw new KeelsonError('DATA_LOSS', 'Cannot make sense of a message', {
        reason: `nobody waits for type ${type} on stream ${streamId}`,
      });
    }
    this.#waiting.delete(streamId);
    try {
      waiting.resolve(payloadOf(waiting.action, payload));
    } catch (error) {
      waiting.reject(error);
      if (!(error instanceof KeelsonError)) throw error;
    }
  }
}
