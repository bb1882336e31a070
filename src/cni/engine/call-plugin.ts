import {
  CNI_ERROR,
  CniError,
  type CniResult,
  type Plugin,
  type PluginCall,
  type PluginInvoker,
} from '../spec/index.ts';

/** What is called: a built-in plugin, or one that is made a program. */
export type CallablePlugin = Pick<Plugin, 'supportedVersions'> & PluginMethods;

/** Methods of a plugin; who has nothing to do for GC or STATUS leaves it out. */
export type PluginMethods = Pick<Plugin, 'add' | 'del' | 'check'> &
  Partial<Pick<Plugin, 'gc' | 'status'>>;

/** Calls a plugin in this process. Fails with INCOMPATIBLE_VERSION if it does not speak the call's. */
export async function callPlugin(
  plugin: CallablePlugin,
  call: PluginCall,
  delegates: PluginInvoker,
): Promise<CniResult | undefined> {
  call.signal.throwIfAborted();
  checkVersion(plugin, call);
  switch (call.command) {
    case 'ADD':
      return plugin.add(call, delegates);
    case 'DEL':
      await plugin.del(call, delegates);
      return undefined;
    case 'CHECK':
      await plugin.check(call, delegates);
      return undefined;
    case 'GC':
      await plugin.gc?.(call, delegates);
      return undefined;
    case 'STATUS':
      await plugin.status?.(call, delegates);
      return undefined;
  }
}

function checkVersion({ supportedVersions }: CallablePlugin, { config }: PluginCall): void {
  if (supportedVersions.includes(config.cniVersion)) return;
  throw new CniError(CNI_ERROR.INCOMPATIBLE_VERSION, 'incompatible CNI versions', {
    details: `config is "${config.cniVersion}", plugin "${config.type}" supports "${supportedVersions.join('", "')}"`,
  });
}
