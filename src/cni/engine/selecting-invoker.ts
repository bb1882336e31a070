import type { CniResult, Plugin, PluginCall, PluginInvoker } from '../spec/index.ts';
import { callPlugin } from './call-plugin.ts';
import { callInSpan } from './call-span.ts';

export interface SelectingInvokerOptions {
  builtIns: readonly Plugin[];
  /** Runs plugins as programs. */
  programs: PluginInvoker;
  /**
   * Which to take when a plugin is both built in and a program. Either way a plugin that
   * is only one of the two is found. Default `builtin`.
   */
  prefer?: 'builtin' | 'exec';
  /**
   * With `builtin`: a program in one of these directories replaces the built-in plugin of
   * its name. This is how an administrator puts in his own. Default: the directories that
   * the call searches.
   */
  overrideDirs?: readonly string[];
}

/** Runs the plugins that are built in, in this process, and the others as programs. */
export class SelectingInvoker implements PluginInvoker {
  readonly #builtIns: ReadonlyMap<string, Plugin>;
  readonly #programs: PluginInvoker;
  readonly #prefer: 'builtin' | 'exec';
  readonly #overrideDirs: readonly string[] | undefined;

  constructor(options: SelectingInvokerOptions) {
    this.#builtIns = new Map(options.builtIns.map((plugin) => [plugin.type, plugin]));
    this.#programs = options.programs;
    this.#prefer = options.prefer ?? 'builtin';
    this.#overrideDirs = options.overrideDirs;
  }

  async invoke(type: string, call: PluginCall): Promise<CniResult | undefined> {
    const plugin = await this.#select(type, call.path);
    if (plugin === undefined) return this.#programs.invoke(type, call);
    return callInSpan({ type, program: 'builtin' }, call, () => callPlugin(plugin, call, this));
  }

  async find(type: string, path: readonly string[]): Promise<string | undefined> {
    return (await this.#select(type, path)) === undefined
      ? this.#programs.find(type, path)
      : 'builtin';
  }

  async versions(type: string, path: readonly string[], signal: AbortSignal): Promise<string[]> {
    const plugin = await this.#select(type, path);
    return plugin === undefined
      ? this.#programs.versions(type, path, signal)
      : [...plugin.supportedVersions];
  }

  async #select(type: string, path: readonly string[]): Promise<Plugin | undefined> {
    const plugin = this.#builtIns.get(type);
    if (plugin === undefined) return undefined;
    const directories = this.#prefer === 'exec' ? path : (this.#overrideDirs ?? path);
    return (await this.#programs.find(type, directories)) === undefined ? plugin : undefined;
  }
}
