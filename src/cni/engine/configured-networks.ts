import { readdir, readFile, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { errnoOf, ifExists, type Logger, messageOf } from '../../base/index.ts';
import {
  CNI_ERROR,
  CniError,
  type NetworkList,
  parseNetworkList,
  pluginDirectoryOf,
} from '../spec/index.ts';
import { DirectoryWatch } from './directory-watch.ts';

const EXTENSIONS = new Set(['.conf', '.conflist', '.json']);

/** Bytes that a configuration file may have. */
const LARGEST_FILE = 1024 * 1024;

export interface ConfiguredNetworksOptions {
  confDir: string;
  /** How many networks a pod is attached to: the first ones by file name. */
  maxNetworks: number;
  /** Used while there is no configuration file. */
  defaultNetwork?: object;
  logger: Logger;
}

/** The networks that pods are attached to, or why there are none. */
export interface Configuration {
  networks: readonly NetworkList[];
  /** Why a configuration is missing or was left out. */
  problem: string | undefined;
}

/** The networks configured in a directory, read anew whenever it changes. */
export class ConfiguredNetworks implements Disposable {
  readonly #options: ConfiguredNetworksOptions;
  readonly #watch: DirectoryWatch;
  #default: NetworkList | undefined;
  #current: Configuration = { networks: [], problem: 'not loaded yet' };
  #loading: Promise<void> | undefined;
  #changed = false;
  #blind = false;

  private constructor(options: ConfiguredNetworksOptions) {
    this.#options = options;
    this.#watch = new DirectoryWatch(() => void this.reload());
    this.setDefault(options.defaultNetwork);
  }

  static async open(options: ConfiguredNetworksOptions): Promise<ConfiguredNetworks> {
    const networks = new ConfiguredNetworks(options);
    await networks.reload();
    return networks;
  }

  async current(): Promise<Configuration> {
    // Without a watch, only looking tells.
    if (this.#blind) await this.reload();
    return this.#current;
  }

  /** Replaces the network that is used while there is no configuration file. */
  setDefault(network: object | undefined): void {
    this.#default =
      network === undefined ? undefined : parseNetworkList(network, 'default network');
  }

  /** Reads the directory anew. Calls at the same time share one reading that starts after all of them. */
  async reload(): Promise<void> {
    this.#changed = true;
    this.#loading ??= this.#loadUntilUnchanged().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
  }

  async #loadUntilUnchanged(): Promise<void> {
    while (this.#changed) {
      this.#changed = false;
      const before = this.#current;
      this.#observe(before.networks);
      this.#current = await this.#load();
      // Directories of networks that were not known before must be watched, then read.
      if (namesOf(before) !== namesOf(this.#current)) this.#changed = true;
      if (JSON.stringify(before) !== JSON.stringify(this.#current)) this.#report();
    }
  }

  #observe(networks: readonly NetworkList[]): void {
    const { confDir, logger } = this.#options;
    try {
      this.#watch.set([confDir, ...networks.map(({ name }) => join(confDir, name))]);
      this.#blind = false;
    } catch (error) {
      if (!this.#blind) {
        logger.warn(
          { confDir, error },
          `cannot watch ${confDir}: ${messageOf(error)}; reading it at each use`,
        );
      }
      this.#blind = true;
    }
  }

  #report(): void {
    const { confDir, logger } = this.#options;
    const { networks, problem } = this.#current;
    const names = networks.map(({ name }) => name);
    if (problem !== undefined) logger.warn({ confDir, networks: names }, problem);
    else logger.info({ confDir, networks: names }, `networks: ${names.join(', ')}`);
  }

  async #load(): Promise<Configuration> {
    const { confDir, maxNetworks } = this.#options;
    let files: string[];
    try {
      files = (await ifExists(readdir(confDir))) ?? [];
    } catch (error) {
      return { networks: [], problem: `Cannot read "${confDir}": ${messageOf(error)}` };
    }
    files = files.filter((file) => EXTENSIONS.has(extname(file))).sort();
    if (files.length === 0) return this.#withoutFiles();
    const networks: NetworkList[] = [];
    let problem: string | undefined;
    for (const file of files) {
      if (networks.length === maxNetworks) break;
      try {
        const network = await readNetwork(confDir, file);
        if (networks.some(({ name }) => name === network.name)) {
          throw new CniError(
            CNI_ERROR.INVALID_CONFIG,
            `Network configuration "${join(confDir, file)}"`,
            {
              details: `there is a network "${network.name}" already`,
            },
          );
        }
        networks.push(network);
      } catch (error) {
        problem ??= messageOf(error);
      }
    }
    return { networks, problem };
  }

  #withoutFiles(): Configuration {
    if (this.#default !== undefined) return { networks: [this.#default], problem: undefined };
    return {
      networks: [],
      problem: `There is no network configuration in "${this.#options.confDir}"`,
    };
  }
}

function namesOf(configuration: Configuration): string {
  return configuration.networks.map(({ name }) => name).join(' ');
}

/** Reads one network from its file, and its plugins from theirs if it has such. */
async function readNetwork(confDir: string, file: string): Promise<NetworkList> {
  const path = join(confDir, file);
  const what = `Network configuration "${path}"`;
  const json = await readJson(path, what);
  const directory = pluginDirectoryOf(json, what);
  if (directory === undefined) return parseNetworkList(json, what);
  return parseNetworkList(json, what, await readPluginFiles(join(confDir, directory)));
}

async function readPluginFiles(directory: string): Promise<unknown[]> {
  const names = await ifExists(readdir(directory)).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  });
  const files = (names ?? []).filter((name) => extname(name) === '.conf').sort();
  return Promise.all(
    files.map((file) =>
      readJson(join(directory, file), `Plugin configuration "${join(directory, file)}"`),
    ),
  );
}

async function readJson(path: string, what: string): Promise<unknown> {
  try {
    const file = await stat(path);
    if (!file.isFile()) throw new Error('it is not a regular file');
    if (file.size > LARGEST_FILE) throw new Error(`it is larger than ${LARGEST_FILE} bytes`);
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new CniError(CNI_ERROR.INVALID_CONFIG, what, { details: messageOf(error) });
  }
}
