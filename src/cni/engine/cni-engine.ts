import { during, KeelsonError, KeyedLock, type Logger } from '../../base/index.ts';
import { isAtLeast, type NetworkList, type PluginInvoker } from '../spec/index.ts';
import { type Attaching, attachPod, planAttachments } from './attach-pod.ts';
import { AttachmentRecords } from './attachment-records.ts';
import { CniRuntime } from './cni-runtime.ts';
import { ConfiguredNetworks } from './configured-networks.ts';
import { attachmentsOf, detachPod } from './detach-pod.ts';
import { GarbageCollector } from './garbage-collector.ts';
import { NetworkReadiness, type NetworkStatus } from './network-readiness.ts';
import { killOrphanedPlugins } from './orphaned-plugins.ts';
import type { PodAttachment } from './pod-attachment.ts';
import { type PodNetwork, podNetworkOf } from './pod-network.ts';

export interface CniEngineOptions {
  /** Directory of network configurations. Need not exist; watched. */
  confDir: string;
  /** Directories of plugin programs, in the order in which they are searched. */
  binDirs: readonly string[];
  /** Where results are kept, shared with other runtimes: `/var/lib/cni`. */
  cacheDir: string;
  /** Where this daemon, and no other, notes what it attached. Must outlive a boot, as addresses do. */
  stateDir: string;
  logger: Logger;
  invoker: PluginInvoker;
  /** Network configuration that is used while `confDir` has none, such as `bridgeNetwork(DEFAULT_BRIDGE)`. */
  defaultNetwork?: object;
  /** How many networks a pod is attached to: the first ones by file name. Default 1. */
  maxNetworks?: number;
  /** Milliseconds that one plugin may take; then it is killed. Default 60 s. */
  pluginTimeout?: number;
}

/**
 * Attaches pods to the networks that are configured on this host.
 *
 * Crash-only: what a pod is attached to is noted before the first plugin runs, and the
 * note removed after all have undone their work. A daemon that died in between finds the
 * note at its next start, by `collectGarbage`.
 */
export class CniEngine implements AsyncDisposable {
  readonly #networks: ConfiguredNetworks;
  readonly #readiness: NetworkReadiness;
  readonly #context: Attaching;
  readonly #pods = new KeyedLock();

  private constructor(options: CniEngineOptions, networks: ConfiguredNetworks) {
    const { logger, stateDir } = options;
    const runtime = new CniRuntime(options);
    const records = new AttachmentRecords(stateDir, logger);
    const garbage = new GarbageCollector({
      ...{ runtime, records, logger },
      networks: async () => (await networks.current()).networks,
      detach: (containerId, signal) => this.#detach(containerId, undefined, signal),
    });
    this.#networks = networks;
    this.#readiness = new NetworkReadiness(runtime, networks);
    this.#context = { runtime, records, garbage, logger };
  }

  /** Ends what plugins of an earlier life are still doing, and loads the configuration. */
  static async open(options: CniEngineOptions): Promise<CniEngine> {
    const networks = await ConfiguredNetworks.open({ maxNetworks: 1, ...options });
    const engine = new CniEngine(options, networks);
    const { records, logger } = engine.#context;
    await records.sweep();
    await killOrphanedPlugins(new Set(await records.list()), logger);
    return engine;
  }

  /** Whether a configuration is loaded, its plugins are there and say that they are ready. */
  status(signal: AbortSignal): Promise<NetworkStatus> {
    return this.#readiness.status(signal);
  }

  /** Replaces the network that is used while there is no configuration file. */
  async setDefaultNetwork(network: object | undefined): Promise<void> {
    this.#networks.setDefault(network);
    await this.#networks.reload();
  }

  /**
   * Attaches a pod to all networks: to the first as `eth0`, to the next as `eth1`, and so
   * on. When one fails, all are undone in reverse order, with a deadline of their own.
   * Fails with UNAVAILABLE while no network is configured, with ALREADY_EXISTS for a pod
   * that is attached.
   */
  async attach(pod: PodAttachment, signal: AbortSignal): Promise<PodNetwork> {
    const action = `Cannot attach pod "${pod.podNamespace}/${pod.podName}"`;
    using _ = await this.#pods.acquire(pod.containerId, signal);
    const { networks, problem } = await this.#networks.current();
    if (networks.length === 0) {
      throw new KeelsonError('UNAVAILABLE', action, { reason: problem ?? 'there is no network' });
    }
    try {
      const plan = planAttachments(pod, networks);
      if ((await this.#context.records.read(pod.containerId)) !== undefined) {
        throw new KeelsonError('ALREADY_EXISTS', `Container "${pod.containerId}"`, {
          reason: 'it is attached already',
        });
      }
      this.#warnOfUnmappedPorts(pod, networks);
      return podNetworkOf(await attachPod(this.#context, pod.containerId, plan, signal));
    } catch (error) {
      throw during(action, error);
    }
  }

  /**
   * Undoes `attach`, in reverse order and as the networks were configured then. The
   * namespace may be gone. All networks are tried even if one fails; the next call tries
   * what is left. Does nothing for a pod that is not attached.
   */
  async detach(pod: PodAttachment, signal: AbortSignal): Promise<void> {
    try {
      await this.#detach(pod.containerId, pod.netns, signal);
    } catch (error) {
      this.#context.garbage.add(pod.containerId);
      throw during(`Cannot detach pod "${pod.podNamespace}/${pod.podName}"`, error);
    }
  }

  /** Fails if a pod's network is not as `attach` made it. Networks older than CNI 0.4.0 cannot be checked, and pass. */
  async check(pod: PodAttachment, signal: AbortSignal): Promise<void> {
    const action = `Cannot check the network of pod "${pod.podNamespace}/${pod.podName}"`;
    using _ = await this.#pods.acquire(pod.containerId, signal);
    const attachments = await attachmentsOf(this.#context, pod.containerId, pod.netns);
    if (attachments.length === 0) {
      throw new KeelsonError('NOT_FOUND', action, { reason: 'the pod is not attached' });
    }
    for (const { list, attachment } of attachments) {
      if (!isAtLeast(list.cniVersion, '0.4.0')) continue;
      try {
        await this.#context.runtime.checkNetworkList(list, attachment, signal);
      } catch (error) {
        throw during(`${action} "${list.name}"`, error);
      }
    }
  }

  /**
   * Detaches all containers that this daemon attached in an earlier life, or failed to
   * detach, and that are not in `valid`; then has the plugins collect their garbage. What
   * other runtimes attached is left alone. To be called at start. What fails is logged and
   * tried again later by itself: only an abort is an error.
   */
  async collectGarbage(
    valid: readonly { containerId: string }[],
    signal: AbortSignal,
  ): Promise<void> {
    const ids = new Set(valid.map(({ containerId }) => containerId));
    await this.#context.garbage.collect(ids, signal);
  }

  /** Stops watching and retrying. Pods stay attached. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#networks[Symbol.dispose]();
    await this.#context.garbage[Symbol.asyncDispose]();
    await this.#readiness.landed();
  }

  async #detach(
    containerId: string,
    netns: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    using _ = await this.#pods.acquire(containerId, signal);
    await detachPod(this.#context, containerId, netns, signal);
  }

  #warnOfUnmappedPorts(pod: PodAttachment, networks: readonly NetworkList[]): void {
    const isMapped = networks.some(({ plugins }) =>
      plugins.some(({ capabilities }) => capabilities.includes('portMappings')),
    );
    if (isMapped || !pod.portMappings.some(({ hostPort }) => hostPort > 0)) return;
    this.#context.logger.warn(
      { sandbox: pod.containerId, networks: networks.map(({ name }) => name) },
      'the pod asks for host ports, but no plugin of its networks has the capability "portMappings"',
    );
  }
}
