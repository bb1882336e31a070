import type { KeyedLock } from '../../base/index.ts';
import { getGeneration, type NetworkNamespace } from '../../linux/index.ts';
import type { PluginCall } from '../spec/index.ts';
import { invalidConfig, readConfig } from './plugin-definition.ts';

/** Where rules are made. */
export interface FirewallPlace {
  readonly host: NetworkNamespace;
  /** Lets changes of the nftables rule set by this process be made one after the other. */
  readonly turns: KeyedLock;
}

export type FirewallBackend = 'iptables' | 'nftables';

/** What `key` of the configuration asks for, or what this kernel can do: nftables first. */
export async function chooseBackend(
  call: PluginCall,
  key: string,
  host: NetworkNamespace,
): Promise<FirewallBackend> {
  const wanted = readConfig(call).get(key)?.string() || undefined;
  if (wanted === 'iptables' || wanted === 'nftables') return wanted;
  if (wanted !== undefined) {
    throw invalidConfig(`${key} must be "iptables" or "nftables", not ${JSON.stringify(wanted)}`);
  }
  return (await hasNftables(host)) ? 'nftables' : 'iptables';
}

async function hasNftables(host: NetworkNamespace): Promise<boolean> {
  try {
    await host.netfilter.get(getGeneration());
    return true;
  } catch {
    return false;
  }
}
