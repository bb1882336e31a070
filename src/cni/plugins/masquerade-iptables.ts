import { type Cidr, formatCidr, formatIp, networkOf } from '../../base/index.ts';
import type { PluginCall } from '../spec/index.ts';
import {
  collectChains,
  containerChain,
  containerComment,
  editTable,
  familyOf,
  type IpFamily,
  leadsTo,
  removeChains,
  type SavedTable,
  saveTable,
} from './iptables.ts';

const MULTICAST = { 4: '224.0.0.0/4', 6: 'ff00::/8' } as const;

/**
 * Masquerading by iptables, with the chains and rules of the reference plugins: a chain
 * for each container, reached from POSTROUTING by the container's addresses.
 */
export async function masqueradeByIptables(
  cidrs: readonly Cidr[],
  call: PluginCall,
): Promise<void> {
  const chain = chainOf(call);
  const comment = `-m comment --comment ${containerComment('', call)}`;
  for (const family of [4, 6] as const) {
    const own = cidrs.filter((cidr) => familyOf(cidr.ip) === family);
    if (own.length === 0) continue;
    const subnets = own.map((cidr) => formatCidr(networkOf(cidr)));
    const plan = ({ rules }: SavedTable) => [
      `:${chain} - [0:0]`,
      ...rules
        .filter((rule) => leadsTo(rule, chain))
        .map((rule) => `-D ${rule.chain} ${rule.text}`),
      ...subnets.map((subnet) => `-A ${chain} -d ${subnet} ${comment} -j ACCEPT`),
      `-A ${chain} ! -d ${MULTICAST[family]} ${comment} -j MASQUERADE`,
      ...own.map(({ ip }) => `-A POSTROUTING -s ${formatIp(ip)} ${comment} -j ${chain}`),
    ];
    await editTable(family, 'nat', plan, call.signal);
  }
}

/** Removes what ADD made, in the families whose program works. */
export async function unmasqueradeByIptables(
  families: readonly IpFamily[],
  call: PluginCall,
): Promise<void> {
  for (const family of families) {
    await editTable(family, 'nat', (now) => removeChains(now, [chainOf(call)]), call.signal);
  }
}

export async function collectMasqueradeByIptables(call: PluginCall): Promise<void> {
  await collectChains('', call);
}

/** Whether the container's chain is reached from all of its addresses. */
export async function isMasqueradedByIptables(
  cidrs: readonly Cidr[],
  call: PluginCall,
): Promise<boolean> {
  for (const cidr of cidrs) {
    const { rules } = await saveTable(familyOf(cidr.ip), 'nat', call.signal);
    const source = `-s ${formatIp(cidr.ip)}/${cidr.ip.length * 8} `;
    const found = rules.some(
      (rule) => rule.text.startsWith(source) && leadsTo(rule, chainOf(call)),
    );
    if (!found) return false;
  }
  return true;
}

function chainOf(call: PluginCall): string {
  return containerChain('', call.config.name, call.containerId);
}
