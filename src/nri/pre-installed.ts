import { access, constants, readdir } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import {
  ifExists,
  type Logger,
  messageOf,
  readTextIfExists,
  sleep,
  writeFileAtomic,
} from '../base/index.ts';
import {
  type ChildProcess,
  exitOf,
  identifyProcess,
  processesWithVariable,
  signalProcess,
  start,
} from '../linux/index.ts';
import { checkName } from './plugin.ts';

/** A plugin of the configured directory: a program named after its index and its name. */
export interface Installed {
  index: string;
  name: string;
  path: string;
  /** The text of its configuration file; '' without one. */
  config: string;
}

/** The plugins there are, in the order of their names. No directory is fine. */
export async function findInstalled(
  { pluginPath, configPath }: { pluginPath: string; configPath: string },
  logger: Logger,
): Promise<Installed[]> {
  const found: Installed[] = [];
  for (const file of ((await ifExists(readdir(pluginPath))) ?? []).sort()) {
    const [, index = '', name = ''] = /^([^-]*)-?(.*)$/.exec(file) ?? [];
    const path = join(pluginPath, file);
    try {
      checkName(name, index);
      await access(path, constants.X_OK);
      const config =
        (await readTextIfExists(join(configPath, `${file}.conf`))) ??
        (await readTextIfExists(join(configPath, `${name}.conf`)));
      found.push({ index, name, path, config: config ?? '' });
    } catch (error) {
      logger.warn({ path }, `not started as an NRI plugin: ${messageOf(error)}`);
    }
  }
  return found;
}

/** The variable by which a daemon knows the processes of a plugin: its state directory and the plugin. */
const OWNER = 'KEELSON_NRI_PLUGIN';

/** How long a plugin may take to end after SIGTERM, in milliseconds. */
const PATIENCE = 2000;

/** The plugins that run because the daemon started them. */
export class StartedPlugins {
  readonly #stateDirectory: string;
  readonly #marker: string;

  constructor(stateDirectory: string) {
    this.#stateDirectory = stateDirectory;
    this.#marker = join(stateDirectory, 'nri-plugins-were-started');
  }

  /** Ends those that a daemon which was killed left behind. */
  async endStale(): Promise<void> {
    if ((await readTextIfExists(this.#marker)) === undefined) return;
    await killProcesses((owner) => owner.startsWith(`${this.#stateDirectory}:`));
  }

  /** Starts one. It speaks on the socket, which is its file descriptor 3. */
  async start({ index, name, path }: Installed): Promise<{ child: ChildProcess; socket: Socket }> {
    await writeFileAtomic(this.#marker, '');
    const child = start(path, [], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
      cwd: '/',
      env: {
        PATH: process.env['PATH'],
        NRI_PLUGIN_NAME: name,
        NRI_PLUGIN_IDX: index,
        NRI_PLUGIN_SOCKET: '3',
        [OWNER]: this.#ownerOf({ index, name }),
      },
    });
    const socket = child.stdio[3] as Socket;
    exitOf(child, path).catch((error: Error) => socket.destroy(error));
    return { child, socket };
  }

  /** Ends one, and whatever it started. */
  async end(plugin: Installed, child: ChildProcess): Promise<void> {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await Promise.race([ended, sleep(PATIENCE)]);
    }
    await killProcesses((owner) => owner === this.#ownerOf(plugin));
  }

  #ownerOf({ index, name }: Pick<Installed, 'index' | 'name'>): string {
    return `${this.#stateDirectory}:${index}-${name}`;
  }
}

async function killProcesses(isOwner: (owner: string) => boolean): Promise<void> {
  for (const pid of await processesWithVariable(OWNER, isOwner)) {
    const found = identifyProcess(pid);
    if (found !== undefined) signalProcess(found, 'SIGKILL');
  }
}
