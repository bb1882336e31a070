import type { CniResult } from './result.ts';
import type { CniVersion } from './versions.ts';

export type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS' | 'VERSION';

/** An attachment as GC names it. */
export interface ValidAttachment {
  containerID: string;
  ifname: string;
}

/**
 * What a plugin is given on its standard input (CNI specification, "Execution
 * Configuration"). Keys that are not listed belong to the plugin and come from the
 * administrator: they may hold anything.
 */
export interface PluginConfig {
  cniVersion: CniVersion;
  /** The network's name. */
  name: string;
  type: string;
  /** Of the plugins before (ADD), or of the whole list (DEL, CHECK). Always in the newest form. */
  prevResult?: CniResult;
  /** Capability arguments that the configuration asks for. */
  runtimeConfig?: Record<string, unknown>;
  'cni.dev/valid-attachments'?: ValidAttachment[];
  [key: string]: unknown;
}

/** One call of a plugin: what a plugin program gets by its environment and standard input. */
export interface PluginCall {
  command: Exclude<CniCommand, 'VERSION'>;
  /** CNI_CONTAINERID; empty for GC and STATUS. */
  containerId: string;
  /** CNI_NETNS: path of the network namespace; empty for GC and STATUS, and for DEL when it is gone. */
  netns: string;
  /** CNI_IFNAME; empty for GC and STATUS. */
  ifname: string;
  /** CNI_ARGS: `KEY=value;KEY=value`. */
  args: string;
  /** CNI_PATH: directories of plugin programs, in the order in which they are searched. */
  path: readonly string[];
  config: PluginConfig;
  signal: AbortSignal;
}

/**
 * A built-in plugin: the contract of a plugin program, without the process.
 *
 * It fails with a `CniError`. `call.config.cniVersion` is one of `supportedVersions`: the
 * caller has seen to it. A chained plugin answers `prevResult`, changed or not, as a
 * program does. Calls for different containers run at the same time; those for one
 * container, and GC, do not. When `call.signal` aborts, the plugin gives up soon; half
 * done work is undone by the DEL that follows.
 *
 * `delegates` runs other plugins by their type, such as the IPAM plugin, with a call made
 * from the plugin's own: `delegates.invoke(ipam.type, call)`.
 */
export interface Plugin {
  readonly type: string;
  readonly supportedVersions: readonly CniVersion[];
  add(call: PluginCall, delegates: PluginInvoker): Promise<CniResult>;
  /** Succeeds when there is nothing, also without namespace or `prevResult`. */
  del(call: PluginCall, delegates: PluginInvoker): Promise<void>;
  check(call: PluginCall, delegates: PluginInvoker): Promise<void>;
  gc(call: PluginCall, delegates: PluginInvoker): Promise<void>;
  status(call: PluginCall, delegates: PluginInvoker): Promise<void>;
  /** Takes up what an earlier process left to be done, such as renewing leases. */
  resume?(): Promise<void>;
}

/** Runs a plugin by its type: a program, or one that is built in. */
export interface PluginInvoker {
  /** Answers the result of ADD, undefined for the other commands. Fails with `CniError`, or the signal's reason. */
  invoke(type: string, call: PluginCall): Promise<CniResult | undefined>;
  /** Where the plugin is found: `builtin`, the path of a program, or undefined. */
  find(type: string, path: readonly string[]): Promise<string | undefined>;
  /** VERSION: which versions the plugin speaks, known to Keelson or not. */
  versions(type: string, path: readonly string[], signal: AbortSignal): Promise<string[]>;
}
