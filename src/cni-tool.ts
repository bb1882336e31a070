import { resolve } from 'node:path';
import { KeelsonError, messageOf } from './base/index.ts';
import type { CniPlace, CniSettings, CniTool, FoundNetwork, PluginVersions } from './cli/index.ts';
import {
  type Attachment,
  builtinPlugins,
  CniRuntime,
  ExecInvoker,
  findNetwork,
  formatResult,
  installLaunchers,
  liveNamespace,
  type NetworkList,
  parseNetworkList,
  readNetworks,
  SelectingInvoker,
  uninstallLaunchers,
} from './cni/index.ts';
import { loadDefaultNetwork } from './default-network.ts';
import { NetworkNamespace } from './linux/index.ts';

/** The CNI engine for one command: what the daemon does to pods, for whichever namespace. */
export function cniTool(settings: CniSettings): CniTool {
  const { binDirs, overrideDir, cacheDir, prefer, pluginTimeout } = settings;
  const path = [overrideDir, ...binDirs];
  const programs = new ExecInvoker();
  // dhcp renews leases as long as its process lives: here only the program can serve.
  const builtIns = builtinPlugins().filter(({ type }) => type !== 'dhcp');
  const invoker = new SelectingInvoker({ builtIns, programs, prefer, overrideDirs: [overrideDir] });
  const runtime = new CniRuntime({ invoker, binDirs: path, cacheDir, pluginTimeout });
  const find = (name: string) => findOrEmbedded(settings, name);
  return {
    async add(name, place, signal) {
      const list = await find(name);
      const attachment = attachmentOf(place);
      await refuseSecond(runtime, attachment);
      return formatResult(await addOrUndo(runtime, list, attachment, signal), list.cniVersion);
    },
    async del(name, place, signal) {
      const list = await find(name);
      const attachment = await asAdded(runtime, list, attachmentOf(place));
      const netns = await liveNamespace(attachment.netns);
      await runtime.delNetworkList(list, { ...attachment, netns }, signal);
    },
    async check(name, place, signal) {
      const list = await find(name);
      const attachment = await asAdded(runtime, list, attachmentOf(place));
      await runtime.checkNetworkList(list, attachment, signal);
    },
    async gc(name, signal) {
      const list = await find(name);
      await runtime.gcNetworkList(list, () => livingAttachments(runtime, list.name), signal);
    },
    async status(name, signal) {
      await runtime.statusNetworkList(await find(name), signal);
    },
    async versions(name, signal) {
      const { plugins } = await find(name);
      const found: PluginVersions[] = [];
      for (const { type } of plugins) {
        const versions = await invoker.versions(type, path, signal);
        found.push({ type, program: (await invoker.find(type, path)) ?? '', versions });
      }
      return found;
    },
    networks: () => networksOf(settings),
    install: (directory, options) => installLaunchers(resolve(directory), options),
    uninstall: (directory) => uninstallLaunchers(resolve(directory)),
  };
}

function attachmentOf({ netns, ...rest }: CniPlace): Attachment {
  return { ...rest, netns: netns === '' ? '' : resolve(netns) };
}

/**
 * What is not said anew is as "add" was told. A plugin that does not hear of the
 * capability it served, such as `portMappings`, would take it that there is nothing to undo.
 */
async function asAdded(
  runtime: CniRuntime,
  list: NetworkList,
  attachment: Attachment,
): Promise<Attachment> {
  const cached = await runtime.cache.read(list.name, attachment, list.cniVersion);
  if (cached === undefined) return attachment;
  const saysCapabilities = Object.keys(attachment.capabilityArgs).length > 0;
  return {
    ...attachment,
    args: attachment.args.length > 0 ? attachment.args : cached.args,
    capabilityArgs: saysCapabilities ? attachment.capabilityArgs : cached.capabilityArgs,
  };
}

/** An attachment is known by container and interface: there may be one, whatever the network. */
async function refuseSecond(runtime: CniRuntime, attachment: Attachment): Promise<void> {
  const { containerId, ifname } = attachment;
  const present = (await runtime.cache.list(containerId)).find((one) => one.ifname === ifname);
  if (present === undefined) return;
  throw new KeelsonError('ALREADY_EXISTS', `Cannot add "${ifname}"`, {
    reason: `container "${containerId}" is attached to network "${present.network}" by it`,
    hint: 'use "keelson cni del" first, or --ifname for a second interface',
  });
}

async function addOrUndo(
  runtime: CniRuntime,
  list: NetworkList,
  attachment: Attachment,
  signal: AbortSignal,
) {
  const wasThere = await hasInterface(attachment);
  try {
    return await runtime.addNetworkList(list, attachment, signal);
  } catch (error) {
    // DEL removes the interface of that name, which then is somebody else's.
    if (wasThere) throw error;
    // The specification wants a DEL after an ADD that failed. What failed first is told.
    const undo = AbortSignal.timeout(UNDO_PATIENCE);
    await runtime.delNetworkList(list, attachment, undo).catch(() => {});
    throw error;
  }
}

async function hasInterface({ netns, ifname }: Attachment): Promise<boolean> {
  if ((await liveNamespace(netns)) === '') return false;
  using namespace = NetworkNamespace.open(netns);
  return (await namespace.findLink(ifname)) !== undefined;
}

/** Milliseconds for the DEL after an ADD that failed or was interrupted. */
const UNDO_PATIENCE = 30_000;

/** Attachments of the cache, of whichever runtime, whose network namespace is still there. */
async function livingAttachments(runtime: CniRuntime, network: string) {
  const cached = (await runtime.cache.list()).filter((entry) => entry.network === network);
  const living = await Promise.all(
    cached.map(async (entry) => ((await liveNamespace(entry.netns)) === '' ? [] : [entry])),
  );
  return living.flat().map(({ containerId, ifname }) => ({ containerID: containerId, ifname }));
}

/** The daemon's own network counts while there is no file, as it does for the daemon. */
async function findOrEmbedded(settings: CniSettings, name: string): Promise<NetworkList> {
  const embedded = await embeddedNetwork(settings);
  return embedded?.name === name ? embedded : findNetwork(settings.confDir, name);
}

async function embeddedNetwork(settings: CniSettings): Promise<NetworkList | undefined> {
  if (!settings.defaultNetwork || (await readNetworks(settings.confDir)).length > 0)
    return undefined;
  return parseNetworkList(await loadDefaultNetwork(settings.root), 'embedded network');
}

async function networksOf(settings: CniSettings): Promise<FoundNetwork[]> {
  const embedded = await embeddedNetwork(settings);
  if (embedded !== undefined) return [describe(embedded, '')];
  const files = await readNetworks(settings.confDir);
  return files.map((entry) => {
    const file = resolve(settings.confDir, entry.file);
    if ('network' in entry) return describe(entry.network, file);
    return { name: '', version: '', plugins: [], file, problem: messageOf(entry.problem) };
  });
}

function describe(network: NetworkList, file: string): FoundNetwork {
  const { name, cniVersion, plugins } = network;
  return { name, version: cniVersion, plugins: plugins.map(({ type }) => type), file };
}
