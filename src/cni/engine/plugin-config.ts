import type { CniResult, NetworkList, NetworkPlugin, PluginConfig } from '../spec/index.ts';
import type { Attachment } from './attachment.ts';

/** What one plugin of a list gets on its standard input (CNI specification, section 3, "Deriving execution configuration"). */
export function derivePluginConfig(
  list: NetworkList,
  plugin: NetworkPlugin,
  more: { attachment?: Attachment; prevResult?: CniResult | undefined } = {},
): PluginConfig {
  const { capabilities: _, prevResult: __, ...own } = plugin.config;
  const runtimeConfig = chooseCapabilities(plugin, more.attachment?.capabilityArgs ?? {});
  return {
    ...own,
    cniVersion: list.cniVersion,
    name: list.name,
    type: plugin.type,
    ...(Object.keys(runtimeConfig).length === 0 ? {} : { runtimeConfig }),
    ...(more.prevResult === undefined ? {} : { prevResult: more.prevResult }),
  };
}

function chooseCapabilities(
  plugin: NetworkPlugin,
  args: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return Object.fromEntries(
    plugin.capabilities
      .filter((name) => Object.hasOwn(args, name))
      .map((name) => [name, args[name]]),
  );
}
