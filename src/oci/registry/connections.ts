import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { Agent, type Dispatcher, EnvHttpProxyAgent } from 'undici';
import { type Endpoint, isLoopback, type TlsSettings } from './endpoint.ts';

/** Milliseconds that an unused connection is kept for the next request. */
const KEEP_ALIVE = 30_000;

export interface ConnectionOptions {
  /** Connections to one host at most. */
  perHost: number;
  /** Milliseconds without a byte after which a transfer counts as stalled. */
  stallTimeout: number;
}

/**
 * Keeps connections to registries, one pool for each host and TLS setting. Settings that
 * changed make a new pool; the old one closes when its connections have been idle.
 */
export class Connections implements AsyncDisposable {
  readonly #options: ConnectionOptions;
  readonly #pools = new Map<string, Dispatcher>();

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** The pool for a URL that an endpoint has or redirects to. Client certificates are for its own host only. */
  for(endpoint: Endpoint, url: URL): Dispatcher {
    const own = url.origin === new URL(endpoint.url).origin;
    const tls = own ? endpoint.tls : { ...endpoint.tls, clients: [] };
    const key = JSON.stringify([url.origin, tls, endpoint.connectTimeout]);
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const pool = this.#open(tls, endpoint.connectTimeout, url);
    this.#pools.set(key, pool);
    return pool;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
  }

  #open(tls: TlsSettings, connectTimeout: number, url: URL): Dispatcher {
    const { perHost, stallTimeout } = this.#options;
    const connect = {
      timeout: connectTimeout,
      ...(url.protocol === 'https:' ? { secureContext: secureContext(tls) } : {}),
      ...(tls.skipVerify ? { rejectUnauthorized: false } : {}),
    };
    const common = {
      connections: perHost,
      keepAliveTimeout: KEEP_ALIVE,
      headersTimeout: stallTimeout,
      bodyTimeout: stallTimeout,
      // One TCP connection for each transfer is faster than many transfers over one.
      allowH2: false,
      connect,
    };
    const proxied = usesProxy() && !isLoopback(url.hostname);
    return proxied ? new EnvHttpProxyAgent({ ...common, requestTls: connect }) : new Agent(common);
  }
}

/**
 * Trusted are the authorities that Node brings, those of the system, and the endpoint's
 * own. One context for all connections of a pool: it takes milliseconds to make.
 */
function secureContext({ ca, clients }: TlsSettings): SecureContext {
  return createSecureContext({
    ca: [...new Set([...getCACertificates('default'), ...getCACertificates('system'), ...ca])],
    cert: clients.map((client) => client.cert),
    key: clients.map((client) => client.key),
  });
}

function usesProxy(): boolean {
  return ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'].some(
    (name) => process.env[name],
  );
}
