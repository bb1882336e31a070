import type { Duplex } from 'node:stream';
import { KeelsonError } from '../../base/index.ts';
import { ChannelStream } from '../channel-stream.ts';
import type { IdleTimer } from '../idle-timer.ts';
import { InboundBudget } from '../inbound-budget.ts';
import type { StreamingLimits } from '../limits.ts';
import { FrameParser } from './frame-parser.ts';
import {
  dataHeader,
  emptySettings,
  Flag,
  type Frame,
  GoawayStatus,
  goaway,
  ping,
  ResetStatus,
  rstStream,
  synReply,
} from './frames.ts';
import type { Headers } from './header-block.ts';
import { EmptyHeaderDeflater, HeaderInflater } from './header-compression.ts';

/** A stream that the client opened. */
export interface SpdyStream extends ChannelStream {
  readonly streamId: number;
  readonly headers: Headers;
}

export interface SpdySessionOptions {
  /** The connection after the upgrade. The session owns it. */
  transport: Duplex;
  /** Aborted when the client leaves or breaks the protocol. */
  control: AbortController;
  idle: IdleTimer;
  limits: StreamingLimits;
  /** Whether a stream that the client asks for is taken; refused with REFUSED_STREAM if not. */
  accepts(headers: Headers, streamId: number): boolean;
  /** A stream is open in both directions. */
  onStream(stream: SpdyStream): void;
  /** The client reset a stream; it is destroyed already. */
  onReset?(stream: SpdyStream): void;
}

const INBOUND_LIMIT = 1024 * 1024;
const STREAM_LIMIT = 4096;
/** Bytes of answers to the client's control frames that it has not taken yet. */
const ANSWER_LIMIT = 64 * 1024;

/**
 * The server's side of a SPDY/3.1 connection as spdystream speaks it: the client opens all
 * streams, there is no flow control but TCP's, WINDOW_UPDATE and SETTINGS mean nothing, and
 * data for streams that are gone is dropped.
 */
export class SpdySession {
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>;
  readonly #options: SpdySessionOptions;
  readonly #transport: Duplex;
  readonly #parser = new FrameParser();
  readonly #inflater = new HeaderInflater();
  readonly #deflater = new EmptyHeaderDeflater();
  readonly #budget = new InboundBudget(INBOUND_LIMIT);
  readonly #streams = new Map<number, SpdyStream>();
  #lastStreamId = 0;
  #unsentAnswers = 0;
  #clientLeaves = false;
  #closing = false;

  constructor(options: SpdySessionOptions) {
    this.#options = options;
    this.#transport = options.transport;
    this.closed = new Promise((resolve) => {
      this.#transport.once('close', () => {
        // Also ends a wait for room in the budget.
        this.#clientLeft();
        resolve();
      });
    });
    this.#transport.on('error', () => {});
    void this.#receive();
  }

  /** Says goodbye: resets what is open, and closes the connection when the client has. */
  async close(status: number = GoawayStatus.OK): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      for (const stream of this.#streams.values()) stream.destroy();
      this.#write(goaway(this.#lastStreamId, status));
      this.#transport.end();
      const timer = setTimeout(() => this.#transport.destroy(), this.#options.limits.linger);
      void this.closed.then(() => clearTimeout(timer));
    }
    await this.closed;
  }

  async #receive(): Promise<void> {
    try {
      for await (const chunk of this.#transport.iterator({ destroyOnReturn: false })) {
        this.#options.idle.touch();
        await this.#take(chunk);
      }
      this.#clientLeft();
    } catch (error) {
      if (!(error instanceof KeelsonError)) return this.#clientLeft();
      this.#options.control.abort(error);
      void this.close(GoawayStatus.PROTOCOL_ERROR);
      this.#transport.resume();
    } finally {
      this.#inflater[Symbol.dispose]();
    }
  }

  async #take(chunk: Buffer): Promise<void> {
    // While the client closes its side, the rest of what it sent is read and dropped: closing
    // with unread data would reset the connection and lose the end of the output.
    if (this.#closing) return;
    for (const frame of this.#parser.push(chunk)) {
      const handled = this.#handle(frame);
      if (handled !== undefined) await handled;
      if (this.#closing) return;
    }
    if (!this.#budget.full) return;
    await this.#budget.roomProbing(() => this.#probe(), this.#options.limits.probe);
  }

  /** Sends what means nothing: if the client has gone, the connection breaks. */
  #probe(): void {
    if (!this.#transport.writableNeedDrain) this.#transport.write(emptySettings());
  }

  #handle(frame: Frame): Promise<void> | undefined {
    switch (frame.type) {
      case 'data': {
        const stream = this.#streams.get(frame.streamId);
        stream?.receive(frame.piece);
        if (frame.fin) stream?.receiveEnd();
        return undefined;
      }
      case 'syn-stream':
        return this.#open(frame);
      case 'header-block':
        return this.#inflater.read(frame.block).then(() => {});
      case 'rst-stream':
        this.#reset(frame.streamId);
        return undefined;
      case 'ping':
        // Even ids would answer our own pings; we send none.
        return frame.id % 2 === 1 ? this.#answer(ping(frame.id)) : undefined;
      case 'goaway':
        this.#clientLeaves = true;
        this.#closeIfDone();
        return undefined;
    }
  }

  async #open(frame: Frame & { type: 'syn-stream' }): Promise<void> {
    const { streamId, flags } = frame;
    const headers = await this.#inflater.read(frame.block);
    if (this.#closing) return;
    if (streamId % 2 === 0 || streamId <= this.#lastStreamId) {
      return this.#answer(rstStream(streamId, ResetStatus.PROTOCOL_ERROR));
    }
    this.#lastStreamId = streamId;
    const isTaken =
      (flags & Flag.UNIDIRECTIONAL) === 0 &&
      !this.#clientLeaves &&
      this.#streams.size < STREAM_LIMIT &&
      this.#options.accepts(headers, streamId);
    if (!isTaken) return this.#answer(rstStream(streamId, ResetStatus.REFUSED_STREAM));
    const stream = this.#newStream(streamId, headers);
    this.#streams.set(streamId, stream);
    const sent = this.#answer(synReply(streamId, this.#deflater.next()));
    if ((flags & Flag.FIN) !== 0) stream.receiveEnd();
    this.#options.onStream(stream);
    return sent;
  }

  #newStream(streamId: number, headers: Headers): SpdyStream {
    const carrier = {
      send: (piece: Buffer, done: Done) => this.#sendData(streamId, piece, done),
      sendEnd: (done: Done) => this.#write(dataHeader(streamId, 0, true), done),
      closed: (ended: { inbound: boolean; outbound: boolean }) =>
        // At the end of the session, a client need not say that it is done with a stream.
        this.#streamClosed(streamId, ended.outbound && (ended.inbound || this.#closing)),
    };
    return Object.assign(new ChannelStream(carrier, this.#budget), { streamId, headers });
  }

  #sendData(streamId: number, piece: Buffer, done: Done): void {
    this.#transport.cork();
    this.#write(dataHeader(streamId, piece.length, false));
    this.#write(piece, done);
    this.#transport.uncork();
  }

  #streamClosed(streamId: number, complete: boolean): void {
    if (!this.#streams.delete(streamId)) return;
    if (!complete) this.#write(rstStream(streamId, ResetStatus.CANCEL));
    if (!this.#closing) this.#closeIfDone();
  }

  #reset(streamId: number): void {
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    this.#streams.delete(streamId);
    stream.destroy(new KeelsonError('CANCELLED', 'The client reset the stream'));
    this.#options.onReset?.(stream);
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (this.#clientLeaves && this.#streams.size === 0) void this.close();
  }

  /** Sends an answer; waits while the client, who makes us answer, does not read. */
  async #answer(bytes: Buffer): Promise<void> {
    this.#unsentAnswers += bytes.length;
    const sent = new Promise<void>((resolve) => {
      this.#write(bytes, () => {
        this.#unsentAnswers -= bytes.length;
        resolve();
      });
    });
    if (this.#unsentAnswers > ANSWER_LIMIT) await sent;
  }

  #write(bytes: Buffer, done: Done = () => {}): void {
    this.#options.idle.touch();
    if (this.#transport.writableEnded || this.#transport.destroyed) done(gone());
    else this.#transport.write(bytes, done);
  }

  #clientLeft(): void {
    this.#options.control.abort(gone());
    this.#closing = true;
    for (const stream of this.#streams.values()) stream.destroy(gone());
    this.#streams.clear();
    this.#transport.destroy();
  }
}

type Done = (error?: Error | null) => void;

function gone(): KeelsonError {
  return new KeelsonError('CANCELLED', 'The client has left');
}
