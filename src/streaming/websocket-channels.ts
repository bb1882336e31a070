import type { WebSocket } from 'ws';
import { KeelsonError } from '../base/index.ts';
import { ChannelStream } from './channel-stream.ts';
import type { IdleTimer } from './idle-timer.ts';
import { InboundBudget } from './inbound-budget.ts';
import type { StreamingLimits } from './limits.ts';

const INBOUND_LIMIT = 1024 * 1024;
/** In v5.channel.k8s.io: the message's second byte is a channel whose sender is done. */
const CLOSE_CHANNEL = 255;
const DIGIT_ZERO = 0x30;
const NORMAL_CLOSURE = 1000;

/** How a channel number and bytes make a message. */
export type MessageForm = 'binary' | 'base64';

export interface WebSocketChannelsOptions {
  socket: WebSocket;
  form: MessageForm;
  /** Whether the client can close a channel (v5). */
  closable: boolean;
  /** Whether the client is told in the same way that a channel is at its end. Default false. */
  tellsEnd?: boolean;
  /** How many channels there are. */
  count: number;
  /** Aborted when the client leaves. */
  control: AbortController;
  idle: IdleTimer;
  limits: StreamingLimits;
}

/**
 * Byte streams over one WebSocket: each message names its channel in its first byte.
 * Messages for channels that do not exist are dropped, as other servers do.
 */
export class WebSocketChannels {
  readonly #options: WebSocketChannelsOptions;
  readonly #socket: WebSocket;
  readonly #budget = new InboundBudget(INBOUND_LIMIT);
  readonly #channels: readonly ChannelStream[];
  readonly #closed: Promise<void>;

  constructor(options: WebSocketChannelsOptions) {
    this.#options = options;
    this.#socket = options.socket;
    this.#channels = Array.from({ length: options.count }, (_, i) => this.#newChannel(i));
    this.#closed = new Promise((resolve) => {
      this.#socket.once('close', () => {
        this.#clientLeft();
        resolve();
      });
    });
    this.#socket.on('error', () => {});
    this.#socket.on('message', (data: Buffer) => this.#receive(data));
  }

  channel(index: number): ChannelStream {
    const channel = this.#channels[index];
    if (channel === undefined) throw new KeelsonError('INTERNAL', `There is no channel ${index}`);
    return channel;
  }

  /** Says on a channel, without any bytes, that the session is established. */
  announce(index: number): void {
    this.#send(index, Buffer.alloc(0), () => {});
  }

  /** Closes the connection after what was written; resolves when it is closed. */
  async close(): Promise<void> {
    // What still comes is dropped, so that the client's own goodbye is reached.
    for (const channel of this.#channels) channel.destroy();
    this.#socket.resume();
    this.#socket.close(NORMAL_CLOSURE);
    const timer = setTimeout(() => this.#socket.terminate(), this.#options.limits.linger);
    await this.#closed;
    clearTimeout(timer);
  }

  #receive(data: Buffer): void {
    this.#options.idle.touch();
    const message = this.#decode(data);
    if (message === undefined) return;
    const [index, payload] = message;
    if (index === CLOSE_CHANNEL && this.#options.closable) {
      this.#channels[payload[0] ?? CLOSE_CHANNEL]?.receiveEnd();
    } else {
      this.#channels[index]?.receive(payload);
    }
    if (this.#budget.full && !this.#socket.isPaused) void this.#waitForRoom();
  }

  #decode(data: Buffer): [number, Buffer] | undefined {
    const first = data[0];
    if (first === undefined) return undefined;
    if (this.#options.form === 'binary') return [first, data.subarray(1)];
    return [first - DIGIT_ZERO, Buffer.from(data.toString('latin1', 1), 'base64')];
  }

  async #waitForRoom(): Promise<void> {
    this.#socket.pause();
    await this.#budget.roomProbing(() => this.#socket.pong(), this.#options.limits.probe);
    this.#socket.resume();
  }

  #newChannel(index: number): ChannelStream {
    const carrier = {
      send: (piece: Buffer, done: Done) => this.#send(index, piece, done),
      // Most protocols have no way to tell a client that a channel is at its end.
      sendEnd: (done: Done) =>
        this.#options.tellsEnd ? this.#send(CLOSE_CHANNEL, Buffer.of(index), done) : done(),
      closed: () => {},
    };
    return new ChannelStream(carrier, this.#budget);
  }

  #send(index: number, piece: Buffer, done: Done): void {
    this.#options.idle.touch();
    if (this.#options.form === 'base64') {
      this.#socket.send(String.fromCharCode(DIGIT_ZERO + index) + piece.toString('base64'), done);
    } else {
      this.#socket.send(Buffer.concat([Buffer.of(index), piece]), { binary: true }, done);
    }
  }

  #clientLeft(): void {
    const gone = new KeelsonError('CANCELLED', 'The client has left');
    this.#options.control.abort(gone);
    for (const channel of this.#channels) channel.destroy(gone);
  }
}

type Done = (error?: Error | null) => void;
