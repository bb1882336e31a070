import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import type { Dispatcher } from 'undici';
import { type Endpoint, isLoopback, type TlsSettings } from './endpoint.ts';

/** Milliseconds that an unused connection is kept for the next request. */
const KEEP_ALIVE = 30_000;

export interface ConnectionOptions {
  /** Connections to one host at most. */
  perHost: number;
  /** Milliseconds without a byte, or with hardly any, after which a transfer counts as stalled. */
  stallTimeout: number;
}

/**
 * Keeps connections to registries, one pool for each TLS setting. Settings that changed
 * make a new pool; the connections of the old one close when they have been idle.
 */
export class Connections implements AsyncDisposable {
  readonly #options: ConnectionOptions;
  readonly #pools = new Map<string, Dispatcher>();

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  get stallTimeout(): number {
    return this.#options.stallTimeout;
  }

  /**
   * The pool for a URL that an endpoint has or redirects to; one serves any number of
   * hosts. Client certificates are for the endpoint's own host only.
   */
  async for(endpoint: Endpoint, url: URL): Promise<Dispatcher> {
    // Some megabytes, which a daemon that pulls nothing need not have.
    const undici = await import('undici');
    const own = url.origin === new URL(endpoint.url).origin;
    const settings: PoolSettings = {
      tls: own ? endpoint.tls : { ...endpoint.tls, clients: [] },
      secure: url.protocol === 'https:',
      proxied: usesProxy() && !isLoopback(url.hostname),
      connectTimeout: endpoint.connectTimeout,
    };
    const key = JSON.stringify(settings);
    const pool = this.#pools.get(key) ?? this.#open(undici, settings);
    this.#pools.set(key, pool);
    return pool;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
  }

  #open(
    { Agent, EnvHttpProxyAgent, Pool }: typeof import('undici'),
    { tls, secure, proxied, connectTimeout }: PoolSettings,
  ): Dispatcher {
    const { perHost, stallTimeout } = this.#options;
    const connect = {
      timeout: connectTimeout,
      ...(secure ? { secureContext: secureContext(tls) } : {}),
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
    if (!proxied) return new Agent(common);
    // Of what connects to the proxy itself, undici would keep its own time limits, of minutes.
    const { headersTimeout, bodyTimeout } = common;
    const factory = (origin: string | URL, options: object) =>
      new Pool(origin, { connections: perHost, headersTimeout, bodyTimeout, ...options });
    return new EnvHttpProxyAgent({
      ...common,
      requestTls: connect,
      connectTimeout,
      factory,
      clientFactory: factory,
    });
  }
}

/** What connections have in common that one pool can keep. */
interface PoolSettings {
  tls: TlsSettings;
  secure: boolean;
  proxied: boolean;
  connectTimeout: number;
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
