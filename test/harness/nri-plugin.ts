import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Daemon } from './daemon.ts';
import { NriPeer, type PluginAnswers, type PluginEvent } from './nri-peer.ts';
import { waitFor } from './wait-for.ts';

const MAIN = new URL('nri-plugin-main.ts', import.meta.url).pathname;
const NODE_ARGS = ['--disable-warning=ExperimentalWarning', MAIN];

/** A plugin, seen by a test. */
export abstract class TestPlugin implements AsyncDisposable {
  /** What it was asked since it was told how to behave. */
  abstract get events(): PluginEvent[];

  /** Forgets what it was asked, and answers otherwise from now on. */
  abstract behave(answers: PluginAnswers): Promise<void>;

  abstract [Symbol.asyncDispose](): Promise<void>;

  get methods(): string[] {
    return this.events.map(({ method }) => method);
  }

  /** The requests of one method. */
  requests(method: string): PluginEvent['request'][] {
    return this.events.filter((event) => event.method === method).map(({ request }) => request);
  }
}

/** One that lives in the test's own process: that saves the start of another. */
export class ConnectedPlugin extends TestPlugin {
  readonly #socket: Socket;
  readonly #closed: Promise<unknown>;
  readonly #peer: NriPeer;
  #answers: PluginAnswers;
  events: PluginEvent[] = [];

  private constructor(path: string, answers: PluginAnswers) {
    super();
    this.#answers = answers;
    this.#socket = connect(path).on('error', () => {}); // It is disconnected.
    this.#closed = new Promise((resolve) => this.#socket.once('close', resolve));
    this.#peer = new NriPeer(this.#socket, {
      answers: () => this.#answers,
      note: (event) => this.events.push(event),
      exit: () => this.#socket.destroy(),
    });
  }

  /** Waits until it takes part. `name` is as in `10-logger`. */
  static async connect(
    daemon: Daemon,
    name: string,
    answers: PluginAnswers = {},
  ): Promise<ConnectedPlugin> {
    const plugin = ConnectedPlugin.launch(daemon, name, answers);
    await waitFor(`plugin ${name}`, () => takesPart(daemon, name));
    return plugin;
  }

  /** The same without waiting. */
  static launch(daemon: Daemon, name: string, answers: PluginAnswers = {}): ConnectedPlugin {
    const plugin = new ConnectedPlugin(daemon.paths.nriSocket, answers);
    void plugin.#peer.register(name.slice(0, 2), name.slice(3));
    return plugin;
  }

  async behave(answers: PluginAnswers): Promise<void> {
    this.#answers = answers;
    this.events = [];
  }

  /** The most requests that waited for its answer at a time. */
  get mostAsked(): number {
    return this.#peer.mostAsked;
  }

  /** Calls UpdateContainers. */
  // biome-ignore lint/suspicious/noExplicitAny: tests know the messages.
  update(request: object): Promise<any> {
    return this.#peer.update(request);
  }

  /** Waits until it is disconnected. */
  async ended(): Promise<void> {
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.#closed;
  }
}

/** One that is a program: see nri-plugin-main.ts. */
export class PluginProgram extends TestPlugin {
  readonly #file: string;
  readonly #child: ChildProcess | undefined;

  private constructor(file: string, child?: ChildProcess) {
    super();
    this.#file = file;
    this.#child = child;
  }

  /** Puts one where the daemon starts it. */
  static async install(
    daemon: Daemon,
    name: string,
    answers: PluginAnswers = {},
  ): Promise<PluginProgram> {
    const plugin = await PluginProgram.#prepare(daemon, name, answers);
    await mkdir(daemon.paths.nriPlugins, { recursive: true });
    const program = join(daemon.paths.nriPlugins, name);
    const words = [process.execPath, ...NODE_ARGS, plugin.#file].map((word) => `'${word}'`);
    await writeFile(program, `#!/bin/sh\nexec ${words.join(' ')}\n`);
    await chmod(program, 0o755);
    return plugin;
  }

  /** Starts one that connects, and waits until it takes part. */
  static async connect(
    daemon: Daemon,
    name: string,
    answers: PluginAnswers = {},
  ): Promise<PluginProgram> {
    const file = (await PluginProgram.#prepare(daemon, name, answers)).#file;
    const child = spawn(process.execPath, [...NODE_ARGS, file], {
      stdio: 'inherit',
      env: {
        ...process.env,
        NRI_TEST_SOCKET: daemon.paths.nriSocket,
        NRI_PLUGIN_IDX: name.slice(0, 2),
        NRI_PLUGIN_NAME: name.slice(3),
      },
    });
    const plugin = new PluginProgram(file, child);
    await waitFor(`plugin ${name}`, () => takesPart(daemon, name));
    return plugin;
  }

  static async #prepare(
    daemon: Daemon,
    name: string,
    answers: PluginAnswers,
  ): Promise<PluginProgram> {
    const plugin = new PluginProgram(join(daemon.directory, `${name}.events`));
    await plugin.behave(answers);
    return plugin;
  }

  get events(): PluginEvent[] {
    const lines = readFileSync(this.#file, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as PluginEvent);
  }

  async behave(answers: PluginAnswers): Promise<void> {
    await writeFile(`${this.#file}.answers`, JSON.stringify(answers));
    await writeFile(this.#file, '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await exit;
  }
}

/** The plugins that take part, in their order. */
export async function pluginsOf(
  daemon: Daemon,
): Promise<{ name: string; preInstalled: boolean }[]> {
  const { info } = await daemon.runtime.status({ verbose: true });
  return (JSON.parse(info['nri'] ?? '{"plugins":[]}') as { plugins: [] }).plugins;
}

export async function takesPart(daemon: Daemon, name: string): Promise<boolean> {
  return (await pluginsOf(daemon)).some((plugin) => plugin.name === name);
}
