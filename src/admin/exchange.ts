import type { IncomingMessage, ServerResponse } from 'node:http';

/** One request, and the place for its answer. */
export interface Exchange {
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborts when the client has gone, or the server closes. */
  readonly signal: AbortSignal;
}

/** Answers an exchange; what it throws becomes the answer if none has begun. */
export type Handler = (exchange: Exchange) => Promise<void>;

export interface Endpoint {
  readonly method: 'GET' | 'POST' | 'PUT';
  readonly path: string;
  /** What changes the daemon or hands out what is in images: for root alone, over the socket. */
  readonly socketOnly?: true;
  readonly handle: Handler;
}
