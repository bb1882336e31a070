import type { Attributes } from '../../base/index.ts';
import type { PluginCall } from '../spec/index.ts';

/** What a plugin call's span says of it. */
export function spanAttributes(type: string, call: PluginCall): Attributes {
  const { containerId, ifname, config } = call;
  return {
    plugin: type,
    network: config.name,
    ...(containerId === '' ? {} : { containerId, ifname }),
  };
}
