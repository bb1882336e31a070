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
  killGroup,
  processesWithVariable,
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

/** The variable by which a daemon knows plugins that it started before it was killed. */
const OWNER = 'KEELSON_NRI_STATE';

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
    for (const pid of await processesWithVariable(OWNER, this.#stateDirectory)) killGroup(pid);
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
        [OWNER]: this.#stateDirectory,
      },
    });
    const socket = child.stdio[3] as Socket;
    exitOf(child, path).catch((error: Error) => socket.destroy(error));
    return { child, socket };
  }

  /** Ends one, and whatever it started. */
  async end(child: ChildProcess): Promise<void> {
    if (child.pid === undefined) return;
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    child.once('exit', () => resolve());
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await Promise.race([ended, sleep(PATIENCE)]);
    }
    killGroup(child.pid);
  }
}
