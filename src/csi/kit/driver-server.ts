import { chmod, rm } from 'node:fs/promises';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { during, KeelsonError, type Logger, removeStaleSocket } from '../../base/index.ts';
import { completeResponse, rpcOf, SERVICES } from '../protocol/services.ts';
import { socketPath } from '../protocol/socket-path.ts';
import { answerCall, type CallContext, failureOf } from './answer-call.ts';
import { CallLocks } from './call-locks.ts';
import { capabilityAnswers, type Offer, offerOf } from './capabilities.ts';
import type { CsiDriver, DriverCall } from './driver.ts';

/** Bytes of a message. */
const MESSAGE_LIMIT = 16 << 20;

export interface DriverServerOptions {
  /** `unix:///path/csi.sock`. */
  readonly endpoint: string;
  readonly logger: Logger;
  /** Permissions of the socket. Default 0600: whoever calls a driver is root. */
  readonly socketMode?: number;
  /** How long calls may go on after closing begins, in milliseconds. Default 30 s. */
  readonly drainTimeout?: number;
}

type Own = (request: object, call: DriverCall) => Promise<object> | AsyncIterable<object>;

/** A driver that listens on its socket, until it is disposed. */
export class DriverServer implements AsyncDisposable {
  readonly path: string;
  readonly offer: Offer;
  readonly #driver: CsiDriver;
  readonly #options: DriverServerOptions;
  readonly #server: Server;
  readonly #context: CallContext;
  readonly #end = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  private constructor(driver: CsiDriver, options: DriverServerOptions) {
    this.#driver = driver;
    this.#options = options;
    this.path = socketPath(options.endpoint);
    this.offer = offerOf(driver);
    this.#context = {
      rules: { offer: this.offer, features: driver.features ?? {} },
      locks: new CallLocks(),
      logger: options.logger,
      signal: this.#end.signal,
    };
    this.#server = new Server({
      'grpc.max_receive_message_length': MESSAGE_LIMIT,
      'grpc.max_send_message_length': MESSAGE_LIMIT,
    });
  }

  /** Fails with INVALID_ARGUMENT when the driver's parts do not go together, ALREADY_EXISTS when the socket is in use. */
  static async open(driver: CsiDriver, options: DriverServerOptions): Promise<DriverServer> {
    const server = new DriverServer(driver, options);
    server.#addServices();
    try {
      await removeStaleSocket(server.path, 'choose another endpoint');
      await bind(server.#server, server.path);
      await chmod(server.path, options.socketMode ?? 0o600);
    } catch (error) {
      server.#server.forceShutdown();
      throw during(`Cannot listen on "${options.endpoint}"`, error);
    }
    return server;
  }

  /** Takes no more calls, lets those under way end, and takes the socket away. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    const patience = setTimeout(() => {
      this.#end.abort(new KeelsonError('UNAVAILABLE', 'The driver is shutting down'));
    }, this.#options.drainTimeout ?? 30_000);
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
    clearTimeout(patience);
    // Clients that keep their connection would hold the end up: their calls are answered.
    const flush = setTimeout(() => this.#server.forceShutdown(), 500);
    await closed;
    clearTimeout(flush);
    await rm(this.path, { force: true });
  }

  #addServices(): void {
    const { identity, controller, groupController, snapshotMetadata, node } = SERVICES;
    const answers = capabilityAnswers(this.offer);
    this.#add(identity, {
      GetPluginInfo: async () => ({
        name: this.#driver.name,
        vendorVersion: this.#driver.version,
        manifest: { ...this.#driver.manifest },
      }),
      GetPluginCapabilities: async () => answers.plugin,
      Probe: async () => ({ ready: (await this.#driver.ready?.(this.#end.signal)) ?? true }),
    });
    const has = (service: (typeof this.offer.plugin)[number]) =>
      this.offer.plugin.includes(service);
    if (has('CONTROLLER_SERVICE')) {
      this.#add(controller, { ControllerGetCapabilities: async () => answers.controller });
    }
    if (has('GROUP_CONTROLLER_SERVICE')) {
      this.#add(groupController, { GroupControllerGetCapabilities: async () => answers.group });
    }
    if (has('SNAPSHOT_METADATA_SERVICE')) this.#add(snapshotMetadata, {});
    if (this.offer.hasNode) this.#add(node, { NodeGetCapabilities: async () => answers.node });
  }

  /** What the driver does not have is left to the library, which answers UNIMPLEMENTED. */
  #add(service: ServiceDefinition, derived: Record<string, Own>): void {
    const handlers: UntypedServiceImplementation = {};
    for (const [name, method] of Object.entries(service)) {
      const rpc = rpcOf(method);
      const own = (this.#driver as unknown as Record<string, Own | undefined>)[name];
      const work = derived[rpc] ?? own?.bind(this.#driver);
      if (work === undefined) continue;
      handlers[name] = method.responseStream ? this.#stream(rpc, work) : this.#unary(rpc, work);
    }
    this.#server.addService(service, handlers);
  }

  #unary(rpc: string, work: Own) {
    return (call: ServerUnaryCall<object, object>, callback: sendUnaryData<object>) => {
      const { request } = call;
      const answer = answerCall(
        rpc,
        request,
        async (about) => work(request, about) as Promise<object>,
        this.#context,
      );
      this.#track(answer).then(
        (response) => callback(null, response),
        (error: unknown) => callback(failureOf(rpc, request, error, this.#options.logger)),
      );
    };
  }

  #stream(rpc: string, work: Own) {
    return (stream: ServerWritableStream<object, object>) => {
      const { request } = stream;
      const sent = answerCall(
        rpc,
        request,
        async (about) => {
          await send(rpc, work(request, about) as AsyncIterable<object>, stream);
          return {};
        },
        this.#context,
      );
      this.#track(sent).then(
        () => stream.end(),
        (error: unknown) =>
          stream.emit('error', failureOf(rpc, request, error, this.#options.logger)),
      );
    };
  }

  async #track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }
}

/** Waits where the reader is slower, and stops when it has gone. */
async function send(
  rpc: string,
  messages: AsyncIterable<object>,
  stream: ServerWritableStream<object, object>,
): Promise<void> {
  for await (const message of messages) {
    if (stream.cancelled) return;
    if (stream.write(completeResponse(rpc, message))) continue;
    await new Promise<void>((resolve) => {
      stream.once('drain', resolve);
      stream.once('cancelled', resolve);
    });
  }
}

function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}
