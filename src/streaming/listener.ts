import { once } from 'node:events';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { KeelsonError } from '../base/index.ts';
import type { StreamingLimits } from './limits.ts';

export interface ListenOptions {
  /** The IP address to listen on. */
  address: string;
  /** 0: any free one. */
  port: number;
  /** PEM. Left out: plain HTTP. */
  tls?: {
    certificate: string | Buffer;
    key: string | Buffer;
    /** Who must have signed the clients' certificates. Left out: clients need none. */
    clientCa?: string | Buffer;
  };
  /** The host in the URLs. Default: the address, or loopback when that is a wildcard. */
  advertisedHost?: string;
  limits: StreamingLimits;
}

const HEADER_LIMIT = 16 * 1024;

/** A listening HTTP or HTTPS server that can be closed for good. */
export class Listener implements AsyncDisposable {
  readonly server: Server;
  /** Such as `http://127.0.0.1:40123`. */
  readonly url: string;
  readonly #connections = new Set<Socket>();

  private constructor(server: Server, url: string) {
    this.server = server;
    this.url = url;
    server.on('connection', (socket: Socket) => {
      this.#connections.add(socket);
      socket.once('close', () => this.#connections.delete(socket));
    });
  }

  /** Fails with UNAVAILABLE if the address cannot be had. */
  static async open(options: ListenOptions): Promise<Listener> {
    const server = createServer(options);
    server.maxConnections = options.limits.connections;
    const listening = once(server, 'listening');
    server.listen(options.port, options.address);
    try {
      await listening;
    } catch (cause) {
      const action = `Cannot serve streaming on ${options.address} port ${options.port}`;
      throw new KeelsonError('UNAVAILABLE', action, { cause });
    }
    return new Listener(server, urlOf(options, (server.address() as AddressInfo).port));
  }

  /** No new connections from now on. */
  stop(): void {
    this.server.close();
    this.server.closeIdleConnections();
  }

  /** Cuts all connections off, also those that were upgraded. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.server, 'close');
    if (this.server.listening) this.server.close();
    if (this.#connections.size === 0) return;
    for (const socket of this.#connections) socket.destroy();
    await closed;
  }
}

function createServer({ tls, limits }: ListenOptions): Server {
  const options = {
    maxHeaderSize: HEADER_LIMIT,
    headersTimeout: limits.request,
    requestTimeout: limits.request,
    connectionsCheckingInterval: limits.request / 2,
    noDelay: true,
  };
  if (tls === undefined) return createHttpServer(options);
  return createHttpsServer({
    ...options,
    cert: tls.certificate,
    key: tls.key,
    ...(tls.clientCa === undefined
      ? {}
      : { ca: tls.clientCa, requestCert: true, rejectUnauthorized: true }),
    minVersion: 'TLSv1.2',
    handshakeTimeout: limits.request,
  });
}

function urlOf(options: ListenOptions, port: number): string {
  const loopback = { '0.0.0.0': '127.0.0.1', '::': '::1' }[options.address];
  const host = options.advertisedHost ?? loopback ?? options.address;
  const authority = host.includes(':') ? `[${host}]` : host;
  return `${options.tls === undefined ? 'http' : 'https'}://${authority}:${port}`;
}
