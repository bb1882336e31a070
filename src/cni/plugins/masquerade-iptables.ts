import { type Cidr, formatCidr, formatIp, networkOf } from '../../base/index.ts';
import type { PluginCall } from '../spec/index.ts';
import {
  changeTable,
  collectChains,
  containerChain,
  containerComment,
  familyOf,
  type IpFamily,
  leadsTo,
  removeChains,
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
    const present = await saveTable(family, 'nat', call.signal);
    const jumps = present.rules.filter((rule) => leadsTo(rule, chain));
    const subnets = own.map((cidr) => formatCidr(networkOf(cidr)));
    await changeTable(
      family,
      'nat',
      [
        `:${chain} - [0:0]`,
        ...jumps.map((rule) => `-D ${rule.chain} ${rule.text}`),
        ...subnets.map((subnet) => `-A ${chain} -d ${subnet} ${comment} -j ACCEPT`),
        `-A ${chain} ! -d ${MULTICAST[family]} ${comment} -j MASQUERADE`,
        ...own.map(({ ip }) => `-A POSTROUTING -s ${formatIp(ip)} ${comment} -j ${chain}`),
      ],
      call.signal,
    );
  }
}

/** Removes what ADD made, in the families whose program works. */
export async function unmasqueradeByIptables(
  families: readonly IpFamily[],
  call: PluginCall,
): Promise<void> {
  for (const family of families) {
    const present = await saveTable(family, 'nat', call.signal);
    await changeTable(family, 'nat', removeChains(present, [chainOf(call)]), call.signal);
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
