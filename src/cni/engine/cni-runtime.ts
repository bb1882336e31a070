import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KeyedLock, type Logger, SILENT } from '../../base/index.ts';
import { lockFile } from '../../linux/index.ts';
import {
  CNI_ERROR,
  CniError,
  type CniResult,
  emptyResult,
  isAtLeast,
  type NetworkList,
  type PluginInvoker,
  parseNetworkList,
  type ValidAttachment,
} from '../spec/index.ts';
import { type Attachment, checkAttachment } from './attachment.ts';
import { Failures } from './failures.ts';
import { liveNamespace } from './network-namespace.ts';
import { PluginCalls } from './plugin-calls.ts';
import { type CachedAttachment, ResultCache } from './result-cache.ts';

export interface CniRuntimeOptions {
  /** Runs plugins, such as an `ExecInvoker`. */
  invoker: PluginInvoker;
  /** Directories of plugin programs, in the order in which they are searched. */
  binDirs: readonly string[];
  /** Where results are kept. Shared with other runtimes: libcni's is `/var/lib/cni`. */
  cacheDir: string;
  /** Milliseconds that one plugin may take; then it is killed. Default 60 s. */
  pluginTimeout?: number;
  logger?: Logger;
}

/**
 * The operations of a CNI runtime on networks (CNI specification, sections 2 and 3), as
 * libcni offers them in Go. Operations on one container run one after the other, those
 * on different ones at the same time, and GC alone; processes of Keelson that share
 * `cacheDir` take turns too.
 *
 *     const cni = new CniRuntime({ invoker: new ExecInvoker(), binDirs: ['/opt/cni/bin'], cacheDir: '/var/lib/cni' });
 *     const list = parseNetworkList(JSON.parse(text), 'my network');
 *     const attachment = { containerId: 'c1', netns: '/run/netns/c1', ifname: 'eth0', args: [], capabilityArgs: {} };
 *     const result = await cni.addNetworkList(list, attachment, signal);
 *     await cni.delNetworkList(list, attachment, signal);
 */
export class CniRuntime {
  readonly cache: ResultCache;
  readonly #options: CniRuntimeOptions;
  readonly #plugins: PluginCalls;
  readonly #containers = new KeyedLock();

  constructor(options: CniRuntimeOptions) {
    this.#options = options;
    this.#plugins = new PluginCalls(options);
    this.cache = new ResultCache(options.cacheDir, options.logger ?? SILENT);
  }

  /**
   * ADD: runs the plugins in order, each with the result of the one before, and answers
   * the last result. When it fails, the caller must still call `delNetworkList`. Runs none
   * if one is missing: DEL could not get past it.
   */
  async addNetworkList(
    list: NetworkList,
    attachment: Attachment,
    signal: AbortSignal,
  ): Promise<CniResult> {
    await using _ = await this.#enter(list, attachment, signal);
    await this.#requirePlugins(list);
    let result: CniResult | undefined;
    for (const plugin of list.plugins) {
      result = await this.#plugins.call(
        'ADD',
        { list, plugin, signal },
        { attachment, prevResult: result },
      );
    }
    const entry = { ...attachment, network: list.name, config: list.source };
    const last = result ?? emptyResult();
    await this.cache.write({ ...entry, result: last }, list.cniVersion);
    return last;
  }

  /**
   * DEL: runs the plugins in reverse order with the cached result of ADD. Succeeds when
   * there is nothing left to remove. All are tried, also past one that fails: what the
   * others made shall not stay for it; the errors come together.
   */
  async delNetworkList(
    list: NetworkList,
    attachment: Attachment,
    signal: AbortSignal,
  ): Promise<void> {
    await using _ = await this.#enter(list, attachment, signal);
    await this.#delete(list, attachment, signal);
  }

  /**
   * CHECK: fails if the network of a container is not as ADD made it, or if the cached
   * result cannot be read. Does nothing with `disableCheck`; configurations older than 0.4.0
   * cannot be checked and fail.
   */
  async checkNetworkList(
    list: NetworkList,
    attachment: Attachment,
    signal: AbortSignal,
  ): Promise<void> {
    if (!isAtLeast(list.cniVersion, '0.4.0')) {
      throw new CniError(CNI_ERROR.INCOMPATIBLE_VERSION, `Cannot check network "${list.name}"`, {
        details: `its configuration version ${list.cniVersion} has no CHECK`,
      });
    }
    if (list.disableCheck) return;
    await using _ = await this.#enter(list, attachment, signal);
    const cached = await this.cache.readStrictly(list.name, attachment, list.cniVersion);
    for (const plugin of list.plugins) {
      const prevResult = cached?.result;
      await this.#plugins.call('CHECK', { list, plugin, signal }, { attachment, prevResult });
    }
  }

  /** STATUS: fails with the first plugin's reason for not being ready. Configurations older than 1.1.0 are. */
  async statusNetworkList(list: NetworkList, signal: AbortSignal): Promise<void> {
    if (!isAtLeast(list.cniVersion, '1.1.0')) return;
    for (const plugin of list.plugins) await this.#plugins.call('STATUS', { list, plugin, signal });
  }

  /**
   * GC: deletes the cached attachments of this network that are not in `valid`, then lets
   * each plugin collect what belongs to no valid attachment. All are tried; the errors
   * come together. Does nothing with `disableGC`. A function that answers `valid` is asked
   * when no other operation runs any more.
   *
   * Runtimes that share a network must not call this: each would collect what is the
   * others'. They use `collectPlugins` with a list of all attachments.
   */
  async gcNetworkList(
    list: NetworkList,
    valid: readonly ValidAttachment[] | (() => Promise<readonly ValidAttachment[]>),
    signal: AbortSignal,
  ): Promise<void> {
    if (list.disableGc) return;
    await using _ = await this.#lock('exclusive', signal);
    const wanted = typeof valid === 'function' ? await valid() : valid;
    const kept = new Set(wanted.map(({ containerID, ifname }) => `${containerID}/${ifname}`));
    const failures = new Failures();
    for (const entry of await this.cache.list()) {
      if (entry.network !== list.name || kept.has(`${entry.containerId}/${entry.ifname}`)) continue;
      const netns = await liveNamespace(entry.netns);
      const remove = () => this.#delete(listOf(entry) ?? list, { ...entry, netns }, signal);
      await failures.gather(remove);
    }
    await failures.gather(() => this.#collect(list, [...wanted], signal));
    failures.throwIfAny(`Cannot collect garbage of network "${list.name}"`);
  }

  /**
   * GC of the plugins alone. `valid` is asked when no other operation runs any more. Does
   * nothing with `disableGC` or a configuration older than 1.1.0.
   */
  async collectPlugins(
    list: NetworkList,
    valid: () => Promise<ValidAttachment[]>,
    signal: AbortSignal,
  ): Promise<void> {
    if (list.disableGc || !isAtLeast(list.cniVersion, '1.1.0')) return;
    await using _ = await this.#lock('exclusive', signal);
    await this.#collect(list, await valid(), signal);
  }

  /** Removes the half-written results of processes that died. */
  async sweepCache(signal: AbortSignal): Promise<void> {
    await using _ = await this.#lock('exclusive', signal);
    await this.cache.sweep();
  }

  /** VERSION: fails if one of the plugins is not there or does not speak the configuration's version. */
  async validateNetworkList(list: NetworkList, signal: AbortSignal): Promise<void> {
    for (const { type } of list.plugins) {
      const versions = await this.#options.invoker.versions(type, this.#options.binDirs, signal);
      if (versions.includes(list.cniVersion)) continue;
      throw new CniError(CNI_ERROR.INCOMPATIBLE_VERSION, `Invalid network "${list.name}"`, {
        details: `plugin "${type}" does not speak CNI version ${list.cniVersion}, only ${versions.join(', ')}`,
      });
    }
  }

  /** The type of the first plugin that is neither built in nor a program. */
  async findMissingPlugin(list: NetworkList): Promise<string | undefined> {
    for (const { type } of list.plugins) {
      if ((await this.#options.invoker.find(type, this.#options.binDirs)) === undefined)
        return type;
    }
    return undefined;
  }

  async #requirePlugins(list: NetworkList): Promise<void> {
    const missing = await this.findMissingPlugin(list);
    if (missing === undefined) return;
    const directories = this.#options.binDirs.map((each) => `"${each}"`).join(', ');
    throw new CniError(CNI_ERROR.INVALID_CONFIG, `Cannot find CNI plugin "${missing}"`, {
      details: `there is no such program in ${directories || 'no directory at all'}`,
      hint: 'install the plugin, or name its directory',
    });
  }

  /** `addNetworkList` for the configuration of a single plugin. */
  addNetwork(config: object, attachment: Attachment, signal: AbortSignal): Promise<CniResult> {
    return this.addNetworkList(single(config), attachment, signal);
  }

  /** `delNetworkList` for the configuration of a single plugin. */
  delNetwork(config: object, attachment: Attachment, signal: AbortSignal): Promise<void> {
    return this.delNetworkList(single(config), attachment, signal);
  }

  /** `checkNetworkList` for the configuration of a single plugin. */
  checkNetwork(config: object, attachment: Attachment, signal: AbortSignal): Promise<void> {
    return this.checkNetworkList(single(config), attachment, signal);
  }

  async #delete(list: NetworkList, attachment: Attachment, signal: AbortSignal): Promise<void> {
    const prevResult = isAtLeast(list.cniVersion, '0.4.0')
      ? (await this.cache.read(list.name, attachment, list.cniVersion))?.result
      : undefined;
    const failures = new Failures();
    for (const plugin of list.plugins.toReversed()) {
      const remove = () =>
        this.#plugins.call('DEL', { list, plugin, signal }, { attachment, prevResult });
      await failures.gather(remove);
      signal.throwIfAborted();
    }
    failures.throwIfAny(`Cannot remove "${attachment.ifname}" from network "${list.name}"`);
    await this.cache.remove(list.name, attachment);
  }

  async #collect(list: NetworkList, valid: ValidAttachment[], signal: AbortSignal): Promise<void> {
    if (!isAtLeast(list.cniVersion, '1.1.0')) return;
    const failures = new Failures();
    for (const plugin of list.plugins) {
      await failures.gather(() => this.#plugins.call('GC', { list, plugin, signal }, { valid }));
    }
    failures.throwIfAny(`Plugins of network "${list.name}" failed to collect garbage`);
  }

  async #enter(
    list: NetworkList,
    attachment: Attachment,
    signal: AbortSignal,
  ): Promise<AsyncDisposable> {
    checkAttachment(list.name, attachment);
    await using stack = new AsyncDisposableStack();
    stack.use(await this.#containers.acquire(attachment.containerId, signal));
    stack.use(await this.#lock('shared', signal));
    return stack.move();
  }

  /** Keeps GC apart from all else, also from that of other processes. */
  async #lock(kind: 'shared' | 'exclusive', signal: AbortSignal): Promise<AsyncDisposable> {
    const { cacheDir } = this.#options;
    await mkdir(cacheDir, { recursive: true, mode: 0o755 });
    return lockFile(join(cacheDir, 'keelson.lock'), kind, signal);
  }
}

/** The configuration that an attachment was made with, undefined if it cannot be read. */
export function listOf(entry: CachedAttachment): NetworkList | undefined {
  try {
    return parseNetworkList(JSON.parse(entry.config), `cached network "${entry.network}"`);
  } catch {
    return undefined;
  }
}

function single(config: object): NetworkList {
  return parseNetworkList(config, 'network configuration');
}
