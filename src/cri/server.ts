import { chmod, mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Server, ServerCredentials, type ServiceDefinition } from '@grpc/grpc-js';
import { during, KeelsonError, removeStaleSocket } from '../base/index.ts';
import { ImageServiceService, RuntimeServiceService } from '../gen/runtime/v1/api.ts';
import { Calls } from './calls.ts';
import type { CriContext } from './context.ts';
import { withEncodedItems } from './encoded-lists.ts';
import { imageService } from './image-service.ts';
import { runtimeService } from './runtime-service.ts';

/** Kubelets send and take messages of up to 16 MiB. */
const MESSAGE_LIMIT = 16 << 20;

/** How long clients may take to read their last answers, in milliseconds. */
const FLUSH_PATIENCE = 2000;

export interface ServerOptions {
  /** `unix:///path` or `tcp://address:port`. Both services are served here. */
  listen: readonly string[];
  /** More addresses, for the image service alone. */
  imageListen: readonly string[];
  /** For tcp addresses other than loopback: PEM texts for mutual TLS. */
  tls: { cert: Buffer; key: Buffer; clientCa: Buffer } | undefined;
  /** How long calls may go on after `close`, in milliseconds, before they are aborted. */
  drainTimeout: number;
}

/** The CRI endpoint: both services, also under the name that kubelets before 1.26 use. */
export class CriServer implements AsyncDisposable {
  readonly #servers: Server[] = [];
  readonly #sockets: string[] = [];
  readonly #calls = new Calls();
  readonly #options: ServerOptions;

  private constructor(options: ServerOptions) {
    this.#options = options;
  }

  static async open(context: CriContext, options: ServerOptions): Promise<CriServer> {
    const server = new CriServer(options);
    try {
      for (const address of options.listen) await server.#serve(context, address, true);
      for (const address of options.imageListen) await server.#serve(context, address, false);
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Takes no more calls, and waits for those under way to be finished or undone. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#servers.map(
      (server) => new Promise<void>((resolve) => server.tryShutdown(() => resolve())),
    );
    await this.#calls.drain(this.#options.drainTimeout);
    // The last answers are still on their way: connections end by themselves after them.
    const timer = setTimeout(() => {
      for (const server of this.#servers) server.forceShutdown();
    }, FLUSH_PATIENCE);
    await Promise.all(closed);
    clearTimeout(timer);
    for (const socket of this.#sockets) await rm(socket, { force: true });
  }

  async #serve(context: CriContext, address: string, withRuntime: boolean): Promise<void> {
    const server = new Server({
      'grpc.max_receive_message_length': MESSAGE_LIMIT,
      'grpc.max_send_message_length': MESSAGE_LIMIT,
    });
    const images = imageService(context, this.#calls);
    server.addService(ImageServiceService, images);
    server.addService(asAlpha(ImageServiceService), images);
    if (withRuntime) {
      const runtime = runtimeService(context, this.#calls);
      const service = withEncodedItems(RuntimeServiceService);
      server.addService(service, runtime);
      server.addService(asAlpha(service), runtime);
    }
    this.#servers.push(server);
    try {
      if (address.startsWith('unix://')) await this.#bindUnix(server, address);
      else await bind(server, address.replace(/^tcp:\/\//, ''), this.#credentials(address));
    } catch (error) {
      throw during(`Cannot listen on "${address}"`, error);
    }
  }

  async #bindUnix(server: Server, address: string): Promise<void> {
    const path = address.slice('unix://'.length);
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await removeStaleSocket(path, 'choose another --listen address');
    await bind(server, `unix:${path}`, ServerCredentials.createInsecure());
    this.#sockets.push(path);
    await chmod(path, 0o660);
  }

  /** Whoever may call is root on this machine: over a network only with certificates. */
  #credentials(address: string): ServerCredentials {
    const { tls } = this.#options;
    if (tls !== undefined) {
      const pair = { cert_chain: tls.cert, private_key: tls.key };
      return ServerCredentials.createSsl(tls.clientCa, [pair], true);
    }
    const host = new URL(address).hostname;
    if (/^(127(\.\d+){3}|\[::1\]|localhost)$/.test(host)) return ServerCredentials.createInsecure();
    throw new KeelsonError('INVALID_ARGUMENT', `Address "${address}" is open to others`, {
      hint: 'set grpc.tls_cert, grpc.tls_key and grpc.tls_client_ca, or listen on loopback',
    });
  }
}

/** The same service under the package name `runtime.v1alpha2`; the messages are the same. */
function asAlpha<T extends ServiceDefinition>(service: T): T {
  return Object.fromEntries(
    Object.entries(service).map(([name, method]) => [
      name,
      { ...method, path: method.path.replace('/runtime.v1.', '/runtime.v1alpha2.') },
    ]),
  ) as T;
}

function bind(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, port) => {
      if (error === null) resolve(port);
      else reject(error);
    });
  });
}
