import { KeelsonError, type Logger, messageOf, sleep } from '../../base/index.ts';
import { RegistrationService } from '../../gen/pluginregistration/v1/api.ts';
import { callsOf, SocketClient } from '../protocol/index.ts';
import { connectDriver } from './driver.ts';
import { type Drivers, supportedVersion } from './drivers.ts';
import { SocketWatch } from './socket-watch.ts';

/** Milliseconds, as a kubelet has them. */
const INFO_TIMEOUT = 5000;
const NOTIFY_TIMEOUT = 5000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 122_000;
/** For endpoints from the settings: nothing else tells that one has come up. */
const LONGEST_PAUSE_OF_ENDPOINTS = 2000;

export interface PluginRegistryOptions {
  /** Where plugins put their registration sockets. */
  directory: string;
  /** Endpoints of drivers that register nowhere. */
  endpoints: readonly string[];
  drivers: Drivers;
  logger: Logger;
  callTimeout: number;
}

/** What a socket says of itself. */
interface Introduction {
  name: string | undefined;
  endpoint: string;
  version: readonly number[];
}

/**
 * Registers the drivers whose sockets appear, as a kubelet does: GetInfo, then the driver's
 * own socket, then NotifyRegistrationStatus. A driver that cannot be registered is tried
 * again for as long as its socket is there.
 */
export class PluginRegistry implements AsyncDisposable {
  readonly #options: PluginRegistryOptions;
  readonly #sessions = new Map<string, AbortController>();
  readonly #running = new Set<Promise<void>>();
  #watch: SocketWatch | undefined;

  private constructor(options: PluginRegistryOptions) {
    this.#options = options;
  }

  static async open(options: PluginRegistryOptions): Promise<PluginRegistry> {
    const registry = new PluginRegistry(options);
    for (const endpoint of options.endpoints) registry.#begin(endpoint, false);
    registry.#watch = await SocketWatch.open({
      directory: options.directory,
      logger: options.logger,
      appeared: (path) => registry.#begin(path, true),
      vanished: (path) => registry.#end(path),
    });
    return registry;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch?.[Symbol.asyncDispose]();
    for (const session of this.#sessions.values()) session.abort();
    await Promise.allSettled(this.#running);
  }

  #begin(source: string, registers: boolean): void {
    this.#sessions.get(source)?.abort();
    const session = new AbortController();
    this.#sessions.set(source, session);
    const work = this.#keepTrying(source, registers, session.signal).finally(() =>
      this.#running.delete(work),
    );
    this.#running.add(work);
  }

  #end(source: string): void {
    this.#sessions.get(source)?.abort();
    this.#sessions.delete(source);
    this.#options.drivers.deregister(source);
  }

  async #keepTrying(source: string, registers: boolean, signal: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    const longest = registers ? LONGEST_PAUSE : LONGEST_PAUSE_OF_ENDPOINTS;
    for (let pause = FIRST_PAUSE; !signal.aborted; pause = Math.min(longest, pause * 2)) {
      try {
        return await (registers
          ? this.#registerPlugin(source, signal)
          : this.#register({ name: undefined, endpoint: source, version: [1] }, source, signal));
      } catch (error) {
        if (signal.aborted) return;
        // An endpoint from the settings may well come up after the daemon.
        const level = pause === FIRST_PAUSE && registers ? 'warn' : 'debug';
        logger[level]({ socket: source, error }, `cannot register plugin: ${messageOf(error)}`);
        await sleep(pause, signal).catch(() => {});
      }
    }
  }

  /** The whole conversation with a registration socket. */
  async #registerPlugin(source: string, signal: AbortSignal): Promise<void> {
    using socket = new SocketClient(source, INFO_TIMEOUT);
    const plugin = callsOf(socket, RegistrationService, source);
    const notify = (pluginRegistered: boolean, error: string) =>
      plugin.notifyRegistrationStatus(
        { pluginRegistered, error },
        { signal, timeout: NOTIFY_TIMEOUT },
      );
    const info = await plugin.getInfo({}, { signal });
    try {
      await this.#register(introductionOf(info, source), source, signal);
    } catch (error) {
      // That it was refused matters more than that it could not be told.
      await notify(false, messageOf(error)).catch(() => {});
      throw error;
    }
    await notify(true, '');
  }

  async #register(plugin: Introduction, source: string, signal: AbortSignal): Promise<void> {
    const { drivers, callTimeout } = this.#options;
    const driver = await connectDriver(plugin.endpoint, {
      callTimeout,
      signal,
      ...(plugin.name === undefined ? {} : { expectedName: plugin.name }),
    });
    try {
      signal.throwIfAborted();
      drivers.register(driver, source, plugin.version);
    } catch (error) {
      driver[Symbol.dispose]();
      throw error;
    }
  }
}

function introductionOf(
  info: { type: string; name: string; endpoint: string; supportedVersions: readonly string[] },
  source: string,
): Introduction {
  const action = `Cannot register plugin "${info.name}"`;
  if (info.type !== 'CSIPlugin') {
    const reason = `its type is "${info.type}", and only CSIPlugin is supported`;
    throw new KeelsonError('UNIMPLEMENTED', action, { reason });
  }
  const version = supportedVersion(info.supportedVersions);
  if (version === undefined) {
    const reason = `none of its versions (${info.supportedVersions.join(', ')}) is 1.x.y`;
    throw new KeelsonError('FAILED_PRECONDITION', action, { reason });
  }
  return { name: info.name, endpoint: info.endpoint === '' ? source : info.endpoint, version };
}
