import { deadlineExceeded } from '../../base/index.ts';
import {
  type CniResult,
  formatArgs,
  type NetworkList,
  type NetworkPlugin,
  type PluginCall,
  type PluginInvoker,
  type ValidAttachment,
} from '../spec/index.ts';
import type { Attachment } from './attachment.ts';
import { derivePluginConfig } from './plugin-config.ts';

/** Milliseconds that a plugin may take. */
const DEFAULT_TIMEOUT = 60_000;

/** Milliseconds that a plugin may take to say whether it is ready: a kubelet asks every few seconds. */
const STATUS_TIMEOUT = 10_000;

export interface PluginCallsOptions {
  invoker: PluginInvoker;
  binDirs: readonly string[];
  pluginTimeout?: number;
}

/** Which plugin of which network is called. */
interface Target {
  list: NetworkList;
  plugin: NetworkPlugin;
  signal: AbortSignal;
}

/** What it is told besides its configuration. */
interface Particulars {
  attachment?: Attachment;
  prevResult?: CniResult | undefined;
  valid?: ValidAttachment[];
}

/** Calls the plugins of networks, none for longer than it may take. */
export class PluginCalls {
  readonly #options: PluginCallsOptions;

  constructor(options: PluginCallsOptions) {
    this.#options = options;
  }

  async call(
    command: PluginCall['command'],
    { list, plugin, signal }: Target,
    particulars: Particulars = {},
  ): Promise<CniResult | undefined> {
    const { invoker, binDirs } = this.#options;
    const { attachment, valid } = particulars;
    const config = derivePluginConfig(list, plugin, particulars);
    using timeout = this.#limit(plugin.type, command);
    return await invoker.invoke(plugin.type, {
      command,
      containerId: attachment?.containerId ?? '',
      netns: attachment?.netns ?? '',
      ifname: attachment?.ifname ?? '',
      args: formatArgs(attachment?.args ?? []),
      path: binDirs,
      // libcni sends the second name too, which plugins knew before the specification had the first.
      config:
        valid === undefined
          ? config
          : { ...config, 'cni.dev/valid-attachments': valid, 'cni.dev/attachments': valid },
      signal: AbortSignal.any([signal, timeout.signal]),
    });
  }

  #limit(type: string, command: PluginCall['command']): Disposable & { signal: AbortSignal } {
    const { pluginTimeout = DEFAULT_TIMEOUT } = this.#options;
    const milliseconds =
      command === 'STATUS' ? Math.min(STATUS_TIMEOUT, pluginTimeout) : pluginTimeout;
    return timeLimit(`CNI plugin "${type}" hangs in ${command}`, milliseconds);
  }
}

/** A signal that aborts after a while, unless disposed before. */
function timeLimit(action: string, milliseconds: number): Disposable & { signal: AbortSignal } {
  const controller = new AbortController();
  const timer = setTimeout(
    () => controller.abort(deadlineExceeded(action, milliseconds)),
    milliseconds,
  );
  return { signal: controller.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}
