import type { PluginMethods } from '../engine/call-plugin.ts';
import type { CniVersion } from '../spec/index.ts';

/**
 * A CNI plugin that is to be a program. Each built-in plugin is one, too: the methods are
 * those of `Plugin`.
 */
export interface PluginProgram extends PluginMethods {
  /** The name that the configuration gives it. */
  readonly type?: string;
  /** Told to who starts the program by hand. */
  readonly about?: string;
  /** Left out: all that Keelson knows. Results are converted, whatever the version. */
  readonly supportedVersions?: readonly CniVersion[];
}
