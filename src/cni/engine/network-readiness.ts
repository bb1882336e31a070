import { Flights, messageOf } from '../../base/index.ts';
import type { NetworkList } from '../spec/index.ts';
import type { CniRuntime } from './cni-runtime.ts';
import type { ConfiguredNetworks } from './configured-networks.ts';

/** Milliseconds for which the plugins' STATUS is taken as given. */
const LONGEST_AGE = 5_000;

/** Whether pods can be attached. `reason` and `message` are made for CRI's NetworkReady condition. */
export type NetworkStatus = { ready: true } | { ready: false; reason: string; message: string };

/** Asks the plugins of the configured networks whether they are ready, seldom enough to be asked often. */
export class NetworkReadiness {
  readonly #runtime: CniRuntime;
  readonly #networks: ConfiguredNetworks;
  readonly #probes = new Flights<NetworkStatus>();
  #known: { status: NetworkStatus; of: readonly NetworkList[]; at: number } | undefined;

  constructor(runtime: CniRuntime, networks: ConfiguredNetworks) {
    this.#runtime = runtime;
    this.#networks = networks;
  }

  async status(signal: AbortSignal): Promise<NetworkStatus> {
    const { networks, problem } = await this.#networks.current();
    if (networks.length === 0) return notReady(problem ?? 'There is no network configuration');
    const known = this.#known;
    // Networks that were read anew are others.
    if (known?.of === networks && performance.now() - known.at < LONGEST_AGE) return known.status;
    return this.#probes.join('status', signal, async (signal) => {
      const status = await this.#probe(networks, signal);
      this.#known = { status, of: networks, at: performance.now() };
      return status;
    });
  }

  /** Resolves when no plugin is being asked. */
  landed(): Promise<void> {
    return this.#probes.landed();
  }

  async #probe(networks: readonly NetworkList[], signal: AbortSignal): Promise<NetworkStatus> {
    for (const network of networks) {
      const where = `Network "${network.name}"`;
      const missing = await this.#runtime.findMissingPlugin(network);
      if (missing !== undefined)
        return notReady(`${where}: CNI plugin "${missing}" is not installed`);
      try {
        await this.#runtime.statusNetworkList(network, signal);
      } catch (error) {
        signal.throwIfAborted();
        return notReady(`${where}: ${messageOf(error)}`);
      }
    }
    return { ready: true };
  }
}

function notReady(message: string): NetworkStatus {
  return { ready: false, reason: 'NetworkPluginNotReady', message };
}
