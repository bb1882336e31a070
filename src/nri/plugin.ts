import type { Socket } from 'node:net';
import { codeOf, KeelsonError, type Logger, messageOf } from '../base/index.ts';
import * as api from '../gen/nri/v1alpha1/api.ts';
import { inChunks } from './chunks.ts';
import * as rpcs from './rpcs.ts';
import { Multiplexer, TtrpcClient, TtrpcServer } from './ttrpc/index.ts';

/** Version of NRI whose messages these are. */
const NRI_VERSION = '0.11.0';

const { LAST, VALIDATE_CONTAINER_ADJUSTMENT } = api.Event;
const ALL_EVENTS = (1 << (LAST - 1)) - 1;

/** What plugins are told of the runtime, and how long they may take, in milliseconds. */
export interface PluginTerms {
  version: string;
  registrationTimeout: number;
  requestTimeout: number;
}

/** What plugins may ask for. */
export interface RuntimeService {
  updateContainers(
    plugin: Plugin,
    request: api.UpdateContainersRequest,
  ): Promise<api.UpdateContainersResponse>;
}

export interface PluginOptions {
  socket: Socket;
  /** Set for plugins that the daemon started: it knows who they are. */
  started: { name: string; index: string; config: string } | undefined;
  terms: PluginTerms;
  runtime: RuntimeService;
  logger: Logger;
}

/** A plugin at the other end of a socket. One that breaks the rules is disconnected. */
export class Plugin {
  readonly #options: PluginOptions;
  readonly #trunk: Multiplexer;
  readonly #client: TtrpcClient;
  readonly #registered = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<Error>();
  readonly #asStateChange = new Set<api.Event>();
  #name: string;
  #index: string;
  #events = 0;
  /** Whether it subscribed to whatever there is. */
  #all = false;
  #hasRegistered = false;
  #failure: Error | undefined;

  constructor(options: PluginOptions) {
    this.#options = options;
    this.#name = options.started?.name ?? '';
    this.#index = options.started?.index ?? '';
    this.#trunk = new Multiplexer(options.socket, (reason) => this.#onClose(reason));
    this.#registered.promise.catch(() => {}); // It may end before anybody waits.
    this.#client = new TtrpcClient(
      this.#trunk.open(rpcs.PLUGIN_CONNECTION, (bytes) => this.#client.receive(bytes)),
    );
    const methods = new Map([
      [`${rpcs.RUNTIME_SERVICE}/RegisterPlugin`, this.#register.bind(this)],
      [`${rpcs.RUNTIME_SERVICE}/UpdateContainers`, this.#updateContainers.bind(this)],
    ]);
    const server: TtrpcServer = new TtrpcServer(
      methods,
      this.#trunk.open(rpcs.RUNTIME_CONNECTION, (bytes) => server.receive(bytes)),
    );
  }

  /** `10-logger`: the order in which plugins are asked is that of these names. */
  get name(): string {
    return `${this.#index}-${this.#name}`;
  }

  get identity(): api.PluginInstance {
    return { name: this.#name, index: this.#index };
  }

  get external(): boolean {
    return this.#options.started === undefined;
  }

  get connected(): boolean {
    return this.#failure === undefined;
  }

  /** Resolves with the reason when the connection has ended. */
  get closed(): Promise<Error> {
    return this.#closed.promise;
  }

  wants(event: api.Event): boolean {
    return this.connected && (this.#events & (1 << (event - 1))) !== 0;
  }

  /** Waits until the plugin has said who it is, and tells it what it needs to know. */
  async open(): Promise<void> {
    const { terms, started } = this.#options;
    const { registrationTimeout, requestTimeout } = terms;
    const timer = setTimeout(
      () => this.close(new Error(`it did not register within ${registrationTimeout} ms`)),
      registrationTimeout,
    );
    try {
      await this.#registered.promise;
    } finally {
      clearTimeout(timer);
    }
    const { events } = await this.call(rpcs.configure, {
      config: started?.config ?? '',
      runtimeName: 'keelson',
      runtimeVersion: terms.version,
      registrationTimeout: BigInt(registrationTimeout),
      requestTimeout: BigInt(requestTimeout),
      NRIVersion: NRI_VERSION,
    });
    if ((events & ~ALL_EVENTS) !== 0) {
      throw this.close(new Error(`it subscribes to unknown events: 0x${events.toString(16)}`));
    }
    this.#all = events === 0;
    this.#events = this.#all ? ALL_EVENTS : events;
  }

  /**
   * Tells it what there is; answers what it wants changed. It has as long as for registering:
   * one that starts on a full node has more to do here than at any event.
   */
  async synchronize(
    pods: api.PodSandbox[],
    containers: api.Container[],
  ): Promise<api.ContainerUpdate[]> {
    const { registrationTimeout } = this.#options.terms;
    for (const chunk of inChunks(pods, containers)) {
      const { update, more } = await this.call(rpcs.synchronize, chunk, registrationTimeout);
      if (!chunk.more) return update;
      if (!more || update.length > 0) {
        throw this.close(new Error('it does not take what there is in several parts'));
      }
    }
    return [];
  }

  /**
   * Asks it about an event; undefined when it does not care. What fails is the plugin's
   * verdict, unless it is no longer `connected` then.
   */
  async ask<Request extends rpcs.Subject, Response>(
    rpc: rpcs.EventRpc<Request, Response>,
    request: Request,
  ): Promise<Response | undefined> {
    if (!this.wants(rpc.event)) return undefined;
    try {
      if (!this.#asStateChange.has(rpc.event)) return await this.call(rpc, request);
    } catch (error) {
      if (codeOf(error) !== 'UNIMPLEMENTED' || !this.connected) throw error;
      // Whoever asked for the say in what is allowed must not be passed over.
      if (rpc.event === VALIDATE_CONTAINER_ADJUSTMENT && !this.#all) throw error;
      if (!rpc.asStateChange) return this.#forgo(rpc.event);
      this.#asStateChange.add(rpc.event);
    }
    const { pod, container } = request;
    try {
      await this.call(rpcs.stateChange, { event: rpc.event, pod, container });
    } catch (error) {
      if (codeOf(error) !== 'UNIMPLEMENTED' || !this.connected) throw error;
      return this.#forgo(rpc.event);
    }
    return undefined;
  }

  /** Calls a method. A plugin that does not answer in time or as it should is disconnected. */
  async call<Request, Response>(
    rpc: rpcs.Rpc<Request, Response>,
    request: Request,
    timeout = this.#options.terms.requestTimeout,
  ): Promise<Response> {
    const payload = rpc.request.encode(request).finish();
    const late = new Error(`it did not answer ${rpc.method} within ${timeout} ms`);
    const timer = setTimeout(() => this.close(late), timeout);
    let answer: Uint8Array;
    try {
      const { method } = rpc;
      answer = await this.#client.call({ service: rpcs.PLUGIN_SERVICE, method, payload, timeout });
    } finally {
      clearTimeout(timer);
    }
    try {
      return rpc.response.decode(answer);
    } catch (error) {
      throw this.close(new Error(`its answer to ${rpc.method} is no message: ${messageOf(error)}`));
    }
  }

  /** Ends the connection, once; answers the error of all that was under way. */
  close(reason: Error): Error {
    this.#fail(reason);
    this.#trunk.close();
    return this.#failure ?? reason;
  }

  #forgo(event: api.Event): undefined {
    this.#options.logger.warn({ plugin: this.name, event }, 'an NRI plugin lacks a method');
    this.#events &= ~(1 << (event - 1));
  }

  #onClose(reason: Error): void {
    this.#fail(reason);
    this.#closed.resolve(this.#failure ?? reason);
  }

  #fail(reason: Error): void {
    if (this.#failure !== undefined) return;
    const failure = new KeelsonError('UNAVAILABLE', `NRI plugin "${this.name}" is gone`, {
      cause: reason,
    });
    this.#failure = failure;
    this.#client.close(failure);
    this.#registered.reject(failure);
  }

  async #register(payload: Uint8Array): Promise<Uint8Array> {
    if (this.#hasRegistered) {
      throw new KeelsonError('FAILED_PRECONDITION', `NRI plugin "${this.name}" has registered`);
    }
    this.#hasRegistered = true;
    if (this.external) {
      const { pluginName, pluginIdx } = api.RegisterPluginRequest.decode(payload);
      try {
        checkName(pluginName, pluginIdx);
      } catch (error) {
        // Its answer goes out before the connection ends.
        setImmediate(() => this.close(error as Error));
        throw error;
      }
      this.#name = pluginName;
      this.#index = pluginIdx;
    }
    this.#registered.resolve();
    return api.Empty.encode({}).finish();
  }

  async #updateContainers(payload: Uint8Array): Promise<Uint8Array> {
    const request = api.UpdateContainersRequest.decode(payload);
    const response = await this.#options.runtime.updateContainers(this, request);
    return api.UpdateContainersResponse.encode(response).finish();
  }
}

/** Fails unless the index has two digits and the name could be part of a file's name. */
export function checkName(name: string, index: string): void {
  const action = `Cannot register NRI plugin "${index}-${name}"`;
  if (!/^[0-9]{2}$/.test(index)) {
    throw new KeelsonError('INVALID_ARGUMENT', action, { reason: 'its index is not two digits' });
  }
  if (!/^[\w][\w.-]{0,127}$/.test(name)) {
    throw new KeelsonError('INVALID_ARGUMENT', action, { reason: 'its name is not one' });
  }
}
