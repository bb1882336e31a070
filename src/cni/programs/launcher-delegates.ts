import { readFile } from 'node:fs/promises';
import { callPlugin } from '../engine/call-plugin.ts';
import { ExecInvoker } from '../engine/exec-invoker.ts';
import type { CniResult, Plugin, PluginCall, PluginInvoker } from '../spec/index.ts';
import { launcherText } from './launcher.ts';
import { loadPlugin } from './plugin-modules.ts';

/**
 * What a launched plugin delegates to: the programs of CNI_PATH, of which those that are
 * launchers of this same Keelson run in this process. Starting another would take longer
 * than all that it does.
 */
export class LauncherDelegates implements PluginInvoker {
  readonly #programs = new ExecInvoker();

  async invoke(type: string, call: PluginCall): Promise<CniResult | undefined> {
    const plugin = await this.#own(type, call.path);
    return plugin === undefined
      ? this.#programs.invoke(type, call)
      : callPlugin(plugin, call, this);
  }

  find(type: string, path: readonly string[]): Promise<string | undefined> {
    return this.#programs.find(type, path);
  }

  async versions(type: string, path: readonly string[], signal: AbortSignal): Promise<string[]> {
    const plugin = await this.#own(type, path);
    return plugin === undefined
      ? this.#programs.versions(type, path, signal)
      : [...plugin.supportedVersions];
  }

  async #own(type: string, path: readonly string[]): Promise<Plugin | undefined> {
    const program = await this.#programs.find(type, path);
    if (program === undefined) return undefined;
    const launcher = Buffer.from(launcherText());
    // A program that cannot be read may still be run.
    const content = await readFile(program).catch(() => undefined);
    return content?.equals(launcher) ? loadPlugin(type) : undefined;
  }
}
