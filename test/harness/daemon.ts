import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CriClient, connect } from './client.ts';
import { killLeftovers, leftoversUnder } from './leftovers.ts';
import { CNI_BIN_DIRS, createNetwork, type TestNetwork } from './network.ts';
import { waitFor } from './wait-for.ts';

const PROJECT = new URL('../..', import.meta.url).pathname;

/** TEST_RUNTIME runs tests with another runtime handler than usual, such as runsc. */
export const DEFAULT_RUNTIME = process.env['TEST_RUNTIME'] ?? 'crun';

export interface DaemonOptions {
  /** More arguments of `keelson serve`. */
  args?: readonly string[];
  /** Variables for this start only, such as KEELSON_FAULT_POINT. */
  env?: Record<string, string>;
  /** TOML that is read after the harness's own settings. */
  config?: string;
  /** `bridge` writes a conflist; `none` leaves the directory empty. Default `bridge`. */
  network?: 'bridge' | 'none';
  /** A program other than this checkout, such as an installed package: `[program, ...args]`. */
  command?: readonly string[];
}

export interface StartOptions {
  env?: Record<string, string>;
  args?: readonly string[];
}

/**
 * Starts a daemon with directories, a socket and a network of its own and waits until it
 * answers.
 *
 *     await using daemon = await startDaemon();
 *     const { version } = await daemon.runtime.version();
 */
export async function startDaemon(options: DaemonOptions = {}): Promise<Daemon> {
  const daemon = await prepareDaemon(options);
  try {
    await daemon.start(options);
    return daemon;
  } catch (error) {
    await daemon[Symbol.asyncDispose]().catch(() => {});
    throw error;
  }
}

/** The same without starting it. */
export async function prepareDaemon(options: DaemonOptions = {}): Promise<Daemon> {
  // Sockets of containers lie below: the path must stay well under their 108 bytes.
  const directory = await mkdtemp(join(tmpdir(), 'keelson-'));
  // As /run is: root of a pod with ids of its own goes through it.
  await chmod(directory, 0o711);
  const paths = pathsIn(directory);
  for (const path of [paths.cniConfDir, paths.registryConfigDir, paths.logs, `${paths.config}.d`]) {
    await mkdir(path, { recursive: true });
  }
  await writeFile(paths.config, ownConfig(directory));
  await writeFile(join(`${paths.config}.d`, 'test.toml'), options.config ?? '');
  const network =
    options.network === 'none' ? undefined : await createNetwork(paths.cniConfDir, paths.leases);
  return new Daemon(directory, network, options);
}

/** What the command line cannot say. */
function ownConfig(directory: string): string {
  const paths = pathsIn(directory);
  return `default_runtime = "${DEFAULT_RUNTIME}"
[cni]
cache_dir = "${directory}/cni-cache"
[images]
registries_conf = "${paths.registriesConf}"
[nri]
socket_path = "${paths.nriSocket}"
plugin_path = "${paths.nriPlugins}"
plugin_config_path = "${paths.nriConfigs}"
`;
}

function pathsIn(directory: string) {
  return {
    root: join(directory, 'root'),
    state: join(directory, 'state'),
    socket: join(directory, 'keelson.sock'),
    config: join(directory, 'config.toml'),
    cniConfDir: join(directory, 'net.d'),
    leases: join(directory, 'leases'),
    registryConfigDir: join(directory, 'certs.d'),
    registriesConf: join(directory, 'registries.conf'),
    logs: join(directory, 'logs'),
    nriSocket: join(directory, 'nri.sock'),
    nriPlugins: join(directory, 'nri-plugins'),
    nriConfigs: join(directory, 'nri-configs'),
  };
}

/** A running `keelson serve`. Disposing of it fails if it left anything behind. */
export class Daemon implements AsyncDisposable {
  readonly directory: string;
  readonly paths: ReturnType<typeof pathsIn>;
  readonly network: TestNetwork | undefined;
  readonly #options: DaemonOptions;
  #client: CriClient | undefined;
  #child: ChildProcess | undefined;
  #exit: Promise<number | NodeJS.Signals> | undefined;
  #log = '';
  /** Whether it ever answered: one that did not has no pods. */
  #served = false;

  constructor(directory: string, network: TestNetwork | undefined, options: DaemonOptions) {
    this.directory = directory;
    this.paths = pathsIn(directory);
    this.network = network;
    this.#options = options;
  }

  get runtime(): CriClient['runtime'] {
    return this.client.runtime;
  }

  get images(): CriClient['images'] {
    return this.client.images;
  }

  get client(): CriClient {
    this.#client ??= connect(this.uri);
    return this.#client;
  }

  get uri(): string {
    return `unix://${this.paths.socket}`;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('The daemon was not started');
    return pid;
  }

  get running(): boolean {
    const child = this.#child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** All that it wrote to stdout and stderr, over restarts. */
  get log(): string {
    return this.#log;
  }

  /** Starts it and waits until it answers. */
  async start(options: StartOptions = {}): Promise<void> {
    this.launch(options);
    const answer = waitFor('an answer of the daemon', () => this.#answers(), 20_000);
    const early = this.#exit?.then((status) => {
      throw new Error(`The daemon ended with ${status}:\n${this.#log}`);
    });
    await Promise.race([answer, early]);
    this.#served = true;
  }

  /** Starts it without waiting, for starts that are meant to fail. */
  launch(options: StartOptions = {}): void {
    const [program = process.execPath, ...args] = this.#command();
    const child = spawn(program, [...args, ...(options.args ?? this.#options.args ?? [])], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment(options.env ?? {}),
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#log += text;
      });
    }
    this.#child = child;
    this.#exit = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve(code ?? signal ?? 'SIGKILL'));
      child.once('error', (error) => {
        this.#log += `${error.message}\n`;
        resolve(127);
      });
    });
  }

  #command(): string[] {
    const { paths } = this;
    const node = ['--disable-warning=ExperimentalWarning', join(PROJECT, 'src/main.ts')];
    return [
      ...(this.#options.command ?? [process.execPath, ...node]),
      'serve',
      ...['--config', paths.config, '--root', paths.root, '--state', paths.state],
      ...['--listen', this.uri, '--registry-config-dir', paths.registryConfigDir],
      ...['--cni-conf-dir', paths.cniConfDir, '--cni-bin-dir', CNI_BIN_DIRS.join(':')],
    ];
  }

  async #answers(): Promise<boolean> {
    if (!this.running) return true;
    await this.runtime.version({}, { timeout: 2000 });
    return true;
  }

  /** Ends it as a crash would; its containers live on. */
  async kill9(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.exited();
  }

  /** Asks it to end and waits for that. Answers its exit code, or the signal that ended it. */
  async stop(): Promise<number | NodeJS.Signals> {
    this.#child?.kill('SIGTERM');
    return this.exited(45_000);
  }

  /** Waits until it has ended, of its own accord or not. */
  async exited(milliseconds = 10_000): Promise<number | NodeJS.Signals> {
    const ended = (async () => ({ status: (await this.#exit) ?? 0 }))();
    const never = new Promise<undefined>((resolve) => {
      setTimeout(resolve, milliseconds, undefined).unref();
    });
    const outcome = await Promise.race([ended, never]);
    if (outcome === undefined) {
      this.#child?.kill('SIGKILL');
      throw new Error(`The daemon did not end within ${milliseconds} ms:\n${this.#log}`);
    }
    // A client keeps backing off from a server that is gone: begin with a new one.
    this.#client?.close();
    this.#client = undefined;
    return outcome.status;
  }

  /** Starts it again on the same directories, after a stop or a crash. */
  async restart(options: StartOptions = {}): Promise<void> {
    if (this.running) await this.stop();
    await this.start(options);
  }

  /** Stops and removes all pods. */
  async removePods(): Promise<void> {
    const { items } = await this.runtime.listPodSandbox();
    await Promise.all(
      items.map(async ({ id }) => {
        await this.runtime.stopPodSandbox({ podSandboxId: id });
        await this.runtime.removePodSandbox({ podSandboxId: id });
      }),
    );
  }

  /**
   * Removes the pods through the daemon, which is started again if a test ended it, and
   * ends it. What is still there then was leaked: it is removed by force and reported.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const problems: string[] = [];
    try {
      if (this.#served) {
        if (!this.running) await this.start({ env: {} });
        await this.removePods();
      }
      if (this.running) await this.stop();
    } catch (error) {
      problems.push(`cannot clean up: ${error instanceof Error ? error.message : String(error)}`);
      await this.kill9().catch(() => {});
    }
    problems.push(...(await this.#leftovers()));
    await killLeftovers(this.directory);
    await this.network?.remove();
    await rm(this.directory, { recursive: true, force: true });
    if (problems.length > 0) {
      throw new Error(
        `The daemon left behind:\n  ${problems.join('\n  ')}\nIts log:\n${this.#log}`,
      );
    }
  }

  async #leftovers(): Promise<string[]> {
    const look = async () => [
      ...(await leftoversUnder(this.directory)),
      ...((await this.network?.leftovers()) ?? []),
    ];
    let found = await look();
    // An interface vanishes with its namespace a little after the last reference to it.
    for (let attempt = 0; found.length > 0 && attempt < 30; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      found = await look();
    }
    return found;
  }
}

/** The daemon refuses variables that it does not know. */
function environment(own: Record<string, string>): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('KEELSON_'));
  return { ...Object.fromEntries(inherited), ...own };
}
