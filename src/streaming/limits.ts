/** What one client may take, and for how long. Sizes in bytes, times in milliseconds. */
export interface StreamingLimits {
  /** URLs that are handed out and not used yet. */
  tokens: number;
  /** For how long a URL can be used. */
  tokenLifetime: number;
  /** TCP connections, those of running sessions included. */
  connections: number;
  /** How long a client may take to send its request, and for a TLS handshake. */
  request: number;
  /** A session without traffic for this long ends. */
  idle: number;
  /** The streams of a session must be there within this. */
  creation: number;
  /** How long running sessions may go on when the server closes. */
  drain: number;
  /** How long a peer may take to close its side after the last byte was sent. */
  linger: number;
  /** How often a client is probed from which nothing is read for the time being. */
  probe: number;
}

export const DEFAULT_LIMITS: Readonly<StreamingLimits> = {
  tokens: 1000,
  tokenLifetime: 60_000,
  connections: 4096,
  request: 10_000,
  idle: 4 * 3600_000,
  creation: 30_000,
  drain: 2000,
  linger: 5000,
  probe: 5000,
};
