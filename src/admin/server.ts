import { once } from 'node:events';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { dirname } from 'node:path';
import { during, messageOf, type RootLogger } from '../base/index.ts';
import type { CsiHost } from '../csi/index.ts';
import type { ImageStore } from '../oci/images/index.ts';
import type { Pods } from '../pods/index.ts';
import { type DispatchOptions, dispatch } from './dispatch.ts';
import { endpointsOf } from './endpoints.ts';
import { Metrics } from './metrics.ts';
import { SpanRing } from './span-ring.ts';

export interface AdminServerOptions {
  /** `unix:///path`, or `tcp://address:port` on loopback. */
  address: string;
  logger: RootLogger;
  images: ImageStore;
  pods: Pods;
  /** Undefined where volumes are switched off. */
  csi?: CsiHost | undefined;
}

/**
 * What operators look at and do beyond CRI, over HTTP for root on this machine:
 *
 * - `GET /metrics`: Prometheus text;
 * - `GET /pulls`: how far pulls are, one JSON list a line, ten times a second;
 * - `GET /spans`: what was done lately, one span a line; with `?follow` also what comes,
 *   with `?follow=new` only that, with `&starts` also what starts;
 * - `GET /images/explain?reference=`: which endpoints a pull would ask, and why;
 * - `GET /images/save?reference=…&format=oci|docker`: a tar archive of images;
 * - `POST /images/load`: loads the archive in the body;
 * - `POST /images/prune[?all]`: removes images that nothing uses;
 * - `GET`, `PUT /log-level`: the level of the log, as plain text in the body;
 * - `GET /csi/drivers`: the drivers that are registered;
 * - `GET /volumes`: all volume objects; `GET /volumes/object?kind=&name=&namespace=`: one,
 *   with what belongs to it and what happened to it;
 * - `POST /volumes/apply`: stores the manifests in the body; `POST /volumes/delete?kind=…`;
 * - `POST /volumes/publish`: makes the volumes of a pod ready; `POST /volumes/release?pod=UID`.
 *
 * Errors are `{"code", "message"}` with the codes of gRPC. A client that leaves ends what
 * was done for it. All but what only shows numbers is served over a Unix socket alone.
 */
export class AdminServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #parts = new DisposableStack();
  readonly #socket: string | undefined;
  readonly #running = new Set<Promise<void>>();

  private constructor(server: Server, socket: string | undefined) {
    this.#server = server;
    this.#socket = socket;
  }

  static async open(options: AdminServerOptions): Promise<AdminServer> {
    const { address, logger, images, pods, csi } = options;
    const socket = address.startsWith('unix://') ? address.slice('unix://'.length) : undefined;
    // An archive may take its time to come.
    const server = createServer({ requestTimeout: 0 });
    const admin = new AdminServer(server, socket);
    const spans = admin.#parts.use(new SpanRing());
    const metrics = admin.#parts.use(new Metrics(images, pods));
    const endpoints = endpointsOf({ logger, images, metrics, spans, csi });
    const dispatching = { endpoints, logger, isSocket: socket !== undefined };
    server.on('request', (request, response) => admin.#answer(dispatching, request, response));
    try {
      await listen(server, address, socket);
      return admin;
    } catch (error) {
      await admin[Symbol.asyncDispose]();
      throw during(`Cannot listen on "${address}"`, error);
    }
  }

  /** Ends what is under way and waits until it has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await Promise.allSettled(this.#running);
    this.#parts[Symbol.dispose]();
    if (this.#socket !== undefined) await rm(this.#socket, { force: true });
  }

  #answer(options: DispatchOptions, request: IncomingMessage, response: ServerResponse): void {
    const work = dispatch(options, request, response).catch((error: unknown) => {
      options.logger.error({ url: request.url, error }, `cannot answer: ${messageOf(error)}`);
      response.destroy();
    });
    this.#running.add(work);
    work.finally(() => this.#running.delete(work));
  }
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
