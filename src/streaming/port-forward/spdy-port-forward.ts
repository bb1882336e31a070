import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { abandonOn, KeelsonError, type Logger, messageOf } from '../../base/index.ts';
import type { PortForwardRequest } from '../backend.ts';
import type { IdleTimer } from '../idle-timer.ts';
import type { StreamingLimits } from '../limits.ts';
import type { Headers } from '../spdy/header-block.ts';
import { SpdySession, type SpdyStream } from '../spdy/session.ts';

/** Milliseconds for telling a client why its connections end. */
const GOODBYE_TIME = 1000;

/** Connects a stream with a port of the sandbox (`StreamingBackend.portForward`). */
export type ForwardPort = (port: number, stream: Duplex, signal: AbortSignal) => Promise<void>;

export interface SpdyPortForwardOptions {
  transport: Duplex;
  request: PortForwardRequest;
  forward: ForwardPort;
  control: AbortController;
  idle: IdleTimer;
  limits: StreamingLimits;
  logger: Logger;
}

/** The two streams of one forwarded connection. */
interface Pair {
  readonly port: number;
  error?: SpdyStream;
  data?: SpdyStream;
  timer: NodeJS.Timeout;
}

/**
 * Serves `portforward.k8s.io`: the client opens a pair of streams, `error` and `data`, with
 * the same `requestid`, for each connection. A connection that fails says why on its error
 * stream and leaves the others alone. Settles when all is over.
 */
export async function serveSpdyPortForward(options: SpdyPortForwardOptions): Promise<void> {
  const forwarder = new PairForwarder(options);
  const session = new SpdySession({
    ...options,
    accepts: (headers, streamId) => forwarder.accepts(headers, streamId),
    onStream: (stream) => forwarder.add(stream),
    onReset: (stream) => forwarder.leave(stream),
  });
  await abandonOn(options.control.signal, session.closed).catch(() => {});
  await forwarder.saidGoodbye();
  await session.close();
  await forwarder.finished();
}

class PairForwarder {
  readonly #options: SpdyPortForwardOptions;
  readonly #pairs = new Map<string, Pair>();
  /** By data stream: the connections under way, how each is ended, and where that is told. */
  readonly #connections = new Map<SpdyStream, { end: AbortController; error: SpdyStream }>();
  readonly #goodbyes: Promise<void>[] = [];
  readonly #running = new Set<Promise<void>>();

  constructor(options: SpdyPortForwardOptions) {
    this.#options = options;
    const { signal } = options.control;
    const onAbort = () => {
      for (const { end, error } of this.#connections.values()) {
        // First: once it has ended, the connection's own error stream is closed.
        this.#goodbyes.push(tell(error, signal.reason));
        end.abort(signal.reason);
      }
    };
    signal.addEventListener('abort', onAbort, { once: true });
  }

  /** Whether a stream makes sense: a known type, the only one of its pair, a port that may be used. */
  accepts(headers: Headers, streamId: number): boolean {
    const type = headers.get('streamtype');
    if (type !== 'error' && type !== 'data') return false;
    const port = parsePort(headers.get('port') ?? '');
    const { ports } = this.#options.request;
    if (port === undefined || (ports.length > 0 && !ports.includes(port))) return false;
    const pair = this.#pairs.get(pairKey(headers, streamId));
    return pair === undefined || (pair[type] === undefined && pair.port === port);
  }

  add(stream: SpdyStream): void {
    const key = pairKey(stream.headers, stream.streamId);
    const pair = this.#pairs.get(key) ?? this.#newPair(key, stream);
    pair[stream.headers.get('streamtype') === 'data' ? 'data' : 'error'] = stream;
    const { error, data, port } = pair;
    if (error === undefined || data === undefined) return;
    clearTimeout(pair.timer);
    this.#pairs.delete(key);
    const running = this.#forward(port, data, error).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** The client has reset a stream. */
  leave(stream: SpdyStream): void {
    const reason = new KeelsonError('CANCELLED', 'The client closed the connection');
    this.#connections.get(stream)?.end.abort(reason);
  }

  /** Settles when a client that is still there knows why its connections ended, or does not listen. */
  async saidGoodbye(): Promise<void> {
    const patience = AbortSignal.timeout(GOODBYE_TIME);
    await abandonOn(patience, Promise.all(this.#goodbyes)).catch(() => {});
  }

  async finished(): Promise<void> {
    for (const pair of this.#pairs.values()) clearTimeout(pair.timer);
    await Promise.all(this.#running);
  }

  #newPair(key: string, stream: SpdyStream): Pair {
    const timer = setTimeout(() => this.#abandon(key), this.#options.limits.creation).unref();
    const pair: Pair = { port: parsePort(stream.headers.get('port') ?? '') ?? 0, timer };
    this.#pairs.set(key, pair);
    return pair;
  }

  #abandon(key: string): void {
    const pair = this.#pairs.get(key);
    this.#pairs.delete(key);
    pair?.data?.destroy();
    pair?.error?.end(`the other stream of connection ${JSON.stringify(key)} did not come in time`);
  }

  async #forward(port: number, data: SpdyStream, error: SpdyStream): Promise<void> {
    const { control, forward, logger, request } = this.#options;
    // Nothing comes on the error stream, but its end must be seen.
    error.resume();
    const connection = new AbortController();
    this.#connections.set(data, { end: connection, error });
    if (control.signal.aborted) connection.abort(control.signal.reason);
    try {
      await forward(port, data, connection.signal);
      data.end();
      // What the client still sends, nobody reads.
      data.resume();
      error.end();
    } catch (failure) {
      // Clients reset the stream when they have all they want: they may not be told of a
      // failure then, which some answer by closing all of their connections.
      if (connection.signal.aborted) {
        data.destroy();
        if (!error.writableEnded) error.end();
        return;
      }
      logger.debug({ sandboxId: request.sandboxId, port, error: failure }, 'port-forward failed');
      error.end(messageOf(failure), () => data.destroy());
    } finally {
      this.#connections.delete(data);
    }
  }
}

/** Settles when the reason is sent or the stream is gone. */
async function tell(error: SpdyStream, reason: unknown): Promise<void> {
  if (error.destroyed || error.writableEnded) return;
  error.end(messageOf(reason));
  await finished(error, { readable: false }).catch(() => {});
}

/** Old clients send no request id: their data stream follows the error stream at once. */
function pairKey(headers: Headers, streamId: number): string {
  const requestId = headers.get('requestid');
  if (requestId !== undefined && requestId !== '') return requestId;
  return String(headers.get('streamtype') === 'data' ? streamId - 2 : streamId);
}

function parsePort(text: string): number | undefined {
  if (!/^[1-9][0-9]{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65535 ? port : undefined;
}
