import { join } from 'node:path';
import { type Logger, messageOf } from '../../base/index.ts';
import { CNI_ERROR, CniError, type NetworkList, parseNetworkList } from '../spec/index.ts';
import { DirectoryWatch } from './directory-watch.ts';
import { networkFiles, readNetwork } from './network-files.ts';

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
      files = await networkFiles(confDir);
    } catch (error) {
      return { networks: [], problem: `Cannot read "${confDir}": ${messageOf(error)}` };
    }
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
