import { readFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import { type ClientOptions, WebSocket } from 'ws';
import { KeelsonError } from '../../base/index.ts';
import type { Endpoint } from '../cri-client.ts';

/** Newest first. Only version 5 can tell that a channel is at its end. */
const PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];
/** The channel whose messages name another one that is at its end. */
const CLOSE_CHANNEL = 255;
const NORMAL_CLOSURE = 1000;
/** Bytes of one message; servers take at least 1 MiB. */
const MESSAGE_LIMIT = 256 * 1024;
const OPEN_TIMEOUT = 30_000;

/** Where the bytes of a channel go, no faster than that takes them. */
export interface Sink {
  readonly stream: Writable;
  /** Whether the end of the channel ends the stream. */
  readonly ends: boolean;
}

export interface RemoteStreamsOptions {
  /** By channel; what comes on others is dropped. */
  sinks: ReadonlyMap<number, Sink>;
  tls: Endpoint['tls'];
  signal: AbortSignal;
}

/**
 * The byte streams of a session that a URL of Exec, Attach or PortForward stands for, over
 * one WebSocket: each message names its channel in its first byte.
 */
export class RemoteStreams implements Disposable {
  /** Resolves when the session is over. */
  readonly closed: Promise<void>;
  readonly #socket: WebSocket;
  readonly #sinks: ReadonlyMap<number, Sink>;
  #blocked = 0;

  private constructor(socket: WebSocket, sinks: ReadonlyMap<number, Sink>) {
    this.#socket = socket;
    this.#sinks = sinks;
    socket.on('message', (data: Buffer) => this.#receive(data));
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        for (const { stream, ends } of this.#sinks.values()) if (ends) stream.end();
        resolve();
      });
    });
  }

  /** Connects to a URL that CRI answered. The URL is a secret until it is used. */
  static async open(
    url: string,
    { sinks, tls, signal }: RemoteStreamsOptions,
  ): Promise<RemoteStreams> {
    signal.throwIfAborted();
    const socket = new WebSocket(url.replace(/^http/, 'ws'), PROTOCOLS, clientOptions(url, tls));
    const streams = new RemoteStreams(socket, sinks);
    const onAbort = () => socket.terminate();
    signal.addEventListener('abort', onAbort, { once: true });
    void streams.closed.then(() => signal.removeEventListener('abort', onAbort));
    try {
      await opened(socket, new URL(url).host);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
    return streams;
  }

  /** Whether the other side can be told that a channel is at its end. */
  get canEnd(): boolean {
    return this.#socket.protocol === PROTOCOLS[0];
  }

  /** What is written goes out on the channel; its end is told if it can be. */
  writable(channel: number): Writable {
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => this.#send(channel, chunk, done),
      final: (done) => {
        if (this.canEnd) this.#send(CLOSE_CHANNEL, Buffer.of(channel), done);
        else done();
      },
    }).on('error', () => {});
  }

  /** Ends the session. */
  close(): void {
    this.#socket.close(NORMAL_CLOSURE);
  }

  [Symbol.dispose](): void {
    this.#socket.terminate();
  }

  #receive(data: Buffer): void {
    const channel = data[0];
    if (channel === undefined) return;
    if (channel === CLOSE_CHANNEL) {
      const sink = this.#sinks.get(data[1] ?? CLOSE_CHANNEL);
      if (sink?.ends) sink.stream.end();
      return;
    }
    const stream = this.#sinks.get(channel)?.stream;
    if (stream === undefined || stream.destroyed || stream.writableEnded) return;
    // An empty message says that the session is established.
    if (data.length === 1) return;
    if (!stream.write(data.subarray(1))) this.#waitFor(stream);
  }

  #waitFor(stream: Writable): void {
    this.#blocked++;
    this.#socket.pause();
    const onRoom = () => {
      stream.off('drain', onRoom).off('close', onRoom);
      this.#blocked--;
      if (this.#blocked === 0) this.#socket.resume();
    };
    stream.on('drain', onRoom).on('close', onRoom);
  }

  #send(channel: number, chunk: Buffer, done: (error?: Error | null) => void): void {
    const piece = chunk.subarray(0, MESSAGE_LIMIT);
    const rest = chunk.subarray(MESSAGE_LIMIT);
    this.#socket.send(Buffer.concat([Buffer.of(channel), piece]), (error) => {
      if (error || rest.length === 0) done(error);
      else this.#send(channel, rest, done);
    });
  }
}

function clientOptions(url: string, tls: Endpoint['tls']): ClientOptions {
  const options: ClientOptions = { perMessageDeflate: false, handshakeTimeout: OPEN_TIMEOUT };
  if (!url.startsWith('https:')) return options;
  const read = (path: string | undefined, key: string) =>
    path === undefined ? {} : { [key]: readFileSync(path) };
  return { ...options, ...read(tls.ca, 'ca'), ...read(tls.cert, 'cert'), ...read(tls.key, 'key') };
}

function opened(socket: WebSocket, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string) =>
      reject(new KeelsonError('UNAVAILABLE', `Cannot open a session at ${host}`, { reason }));
    socket.once('open', resolve);
    socket.once('error', ({ message }) => fail(message));
    socket.once('close', () => fail('the connection was closed'));
  });
}
