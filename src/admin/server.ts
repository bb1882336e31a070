import { once } from 'node:events';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { dirname } from 'node:path';
import { during, type Logger, messageOf } from '../base/index.ts';
import type { ImageStore } from '../oci/images/index.ts';
import type { Pods } from '../pods/index.ts';
import { Metrics } from './metrics.ts';
import { streamPulls } from './pulls.ts';
import { SpanRing, streamSpans } from './spans.ts';

export interface AdminServerOptions {
  /** `unix:///path`, or `tcp://address:port` on loopback. */
  address: string;
  logger: Logger;
  images: ImageStore;
  pods: Pods;
}

type Endpoint = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/**
 * What operators look at, over HTTP for root on this machine:
 *
 * - `GET /metrics`: Prometheus text;
 * - `GET /pulls`: how far pulls are, one JSON list a line, ten times a second;
 * - `GET /spans`: what was done lately, one span a line; with `?follow` also what comes.
 */
export class AdminServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #parts = new DisposableStack();
  readonly #socket: string | undefined;

  private constructor(server: Server, socket: string | undefined) {
    this.#server = server;
    this.#socket = socket;
  }

  static async open(options: AdminServerOptions): Promise<AdminServer> {
    const { address, logger, images, pods } = options;
    const socket = address.startsWith('unix://') ? address.slice('unix://'.length) : undefined;
    const server = createServer();
    const admin = new AdminServer(server, socket);
    const spans = admin.#parts.use(new SpanRing());
    const metrics = admin.#parts.use(new Metrics(images, pods));
    const endpoints = new Map<string, Endpoint>([
      ['/metrics', (_request, response) => metrics.answer(response)],
      ['/pulls', (_request, response) => streamPulls(images, response)],
      ['/spans', (request, response) => streamSpans(spans, request, response)],
    ]);
    server.on('request', (request, response) => {
      answer(endpoints, request, response).catch((error: unknown) => {
        logger.warn({ url: request.url, error }, `cannot answer: ${messageOf(error)}`);
        response.destroy();
      });
    });
    try {
      await listen(server, address, socket);
      return admin;
    } catch (error) {
      await admin[Symbol.asyncDispose]();
      throw during(`Cannot listen on "${address}"`, error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#parts[Symbol.dispose]();
    this.#server.close();
    this.#server.closeAllConnections();
    if (this.#socket !== undefined) await rm(this.#socket, { force: true });
  }
}

async function answer(
  endpoints: ReadonlyMap<string, Endpoint>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = (request.url ?? '').split('?')[0] ?? '';
  const endpoint = endpoints.get(path);
  if (endpoint === undefined || request.method !== 'GET') {
    response.writeHead(endpoint === undefined ? 404 : 405, { 'Content-Type': 'text/plain' });
    response.end(`GET one of ${[...endpoints.keys()].join(', ')}\n`);
    return;
  }
  await endpoint(request, response);
}

async function listen(server: Server, address: string, socket: string | undefined): Promise<void> {
  const listening = once(server, 'listening');
  if (socket === undefined) {
    const { hostname, port } = new URL(address);
    server.listen(Number(port), hostname.replace(/^\[|\]$/g, ''));
  } else {
    await mkdir(dirname(socket), { recursive: true, mode: 0o711 });
    // The state directory is locked: whoever listened there is gone.
    await rm(socket, { force: true });
    server.listen(socket);
  }
  await listening;
  if (socket !== undefined) await chmod(socket, 0o660);
}
