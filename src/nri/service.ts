import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { type Logger, messageOf, removeStaleSocket } from '../base/index.ts';
import type { ChildProcess } from '../linux/index.ts';
import type { LifecycleObserver, Pods } from '../pods/index.ts';
import { NriObserver } from './observer.ts';
import { Plugin } from './plugin.ts';
import { findInstalled, type Installed, StartedPlugins } from './pre-installed.ts';
import { shutdown } from './rpcs.ts';

export interface NriSettings {
  /** Where plugins connect. */
  socketPath: string;
  /** Only pre-installed plugins take part. */
  disableConnections: boolean;
  /** Directory with pre-installed plugins. */
  pluginPath: string;
  /** Directory with their configuration. */
  pluginConfigPath: string;
  /** Milliseconds. */
  registrationTimeout: number;
  requestTimeout: number;
}

export interface NriOptions {
  settings: NriSettings;
  /** Keelson's own version. */
  version: string;
  stateDirectory: string;
  logger: Logger;
}

/** One plugin, as an operator sees it. */
export interface PluginStatus {
  name: string;
  preInstalled: boolean;
}

/**
 * The Node Resource Interface: plugins that connect to a socket or are started by the
 * daemon learn of pods and containers and may adjust them. `observer` is for pods, from the
 * beginning; plugins take part from `start` on.
 */
export class Nri implements AsyncDisposable {
  readonly #options: NriOptions;
  readonly #observer: NriObserver;
  readonly #started: StartedPlugins;
  readonly #plugins = new Set<Plugin>();
  readonly #ending = new Set<Promise<void>>();
  #server: Server | undefined;

  constructor(options: NriOptions) {
    this.#options = options;
    this.#observer = new NriObserver(options.logger);
    this.#started = new StartedPlugins(options.stateDirectory);
  }

  get observer(): LifecycleObserver {
    return this.#observer;
  }

  /**
   * Starts the pre-installed plugins, waits until they take part or have failed to, and
   * listens for others. What fails is logged: it does not keep the daemon from starting.
   */
  async start(pods: Pods): Promise<void> {
    const { settings, logger } = this.#options;
    this.#observer.attach(pods);
    await this.#started.endStale();
    const paths = { pluginPath: settings.pluginPath, configPath: settings.pluginConfigPath };
    const installed = await findInstalled(paths, logger);
    await Promise.all(installed.map((plugin) => this.#launch(plugin)));
    if (settings.disableConnections) return;
    try {
      this.#server = await listen(settings.socketPath, (socket) => void this.#welcome(socket));
    } catch (error) {
      logger.error({ error }, `no NRI plugin can connect: ${messageOf(error)}`);
    }
  }

  /** Where plugins can connect, and those that take part, in the order in which they are asked. */
  status(): { socketPath: string | undefined; plugins: PluginStatus[] } {
    return {
      socketPath: this.#server === undefined ? undefined : this.#options.settings.socketPath,
      plugins: this.#observer.plugins.members.map(({ name, external }) => ({
        name,
        preInstalled: !external,
      })),
    };
  }

  /** Tells the plugins, disconnects them, and ends those that the daemon started. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server !== undefined) {
      this.#server.close();
      await rm(this.#options.settings.socketPath, { force: true });
    }
    await Promise.all(
      [...this.#plugins].map(async (plugin) => {
        if (this.#observer.plugins.includes(plugin)) await farewell(plugin);
        plugin.close(new Error('the daemon ends'));
      }),
    );
    await Promise.all(this.#ending);
    await this.#observer[Symbol.asyncDispose]();
  }

  async #launch(installed: Installed): Promise<void> {
    const { logger } = this.#options;
    logger.info({ path: installed.path }, 'starting an NRI plugin');
    try {
      const { child, socket } = await this.#started.start(installed);
      await this.#welcome(socket, { installed, child });
    } catch (error) {
      logger.error({ path: installed.path, error }, `cannot start it: ${messageOf(error)}`);
    }
  }

  /** Serves a plugin until it takes part, or has failed to. */
  async #welcome(
    socket: Socket,
    program?: { installed: Installed; child: ChildProcess },
  ): Promise<void> {
    const { settings, version, logger } = this.#options;
    const { registrationTimeout, requestTimeout } = settings;
    const plugin = new Plugin({
      socket,
      started: program?.installed,
      terms: { version, registrationTimeout, requestTimeout },
      runtime: this.#observer,
      logger,
    });
    this.#plugins.add(plugin);
    const ended = plugin.closed.then(async (reason) => {
      this.#plugins.delete(plugin);
      const fields = { plugin: plugin.name, reason: messageOf(reason) };
      logger.warn(fields, 'an NRI plugin is disconnected');
      if (program !== undefined) await this.#started.end(program.installed, program.child);
      this.#ending.delete(ended);
    });
    this.#ending.add(ended);
    try {
      await plugin.open();
      await this.#observer.join(plugin);
      logger.info({ plugin: plugin.name }, 'an NRI plugin takes part');
    } catch (error) {
      plugin.close(error as Error);
    }
  }
}

async function farewell(plugin: Plugin): Promise<void> {
  try {
    await plugin.call(shutdown, {});
  } catch {
    // It is disconnected anyway.
  }
}

/** Only root may connect: a plugin can do with containers what it likes. */
async function listen(path: string, onConnection: (socket: Socket) => void): Promise<Server> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await removeStaleSocket(path, 'set another nri.socket_path');
  const server = createServer(onConnection);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  await chmod(path, 0o600);
  return server;
}
