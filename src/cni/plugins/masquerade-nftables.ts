import { type Cidr, formatCidr, networkOf, parseCidr } from '../../base/index.ts';
import {
  addChain,
  addMap,
  addTable,
  appendRule,
  flushChain,
  loadAddress,
  masquerade,
  matchAddress,
  matchFamily,
  type NetlinkRequest,
  NFPROTO,
  type NftTable,
  nfprotoOf,
  verdictOf,
} from '../../linux/index.ts';
import type { PluginCall } from '../spec/index.ts';
import {
  claimElements,
  collectElements,
  elementsOf,
  type OwnedElements,
  ownerComment,
  releaseElements,
} from './element-owners.ts';
import type { FirewallPlace } from './firewall-backend.ts';

/**
 * Masquerading by nftables. A map leads from the address of a pod to the chain of its
 * subnet, which masquerades what leaves the subnet: a pod costs one element, and a packet
 * one look-up, however many pods there are.
 *
 *     table inet keelson_masquerade {
 *       map pods4 { type ipv4_addr : verdict; elements = { 10.88.0.2 : goto outside_10.88.0.0/16 } }
 *       chain postrouting { type nat hook postrouting priority srcnat; ip saddr vmap @pods4; … }
 *       chain outside_10.88.0.0/16 { ip daddr != 10.88.0.0/16 ip daddr != 224.0.0.0/4 masquerade }
 *     }
 */
const TABLE: NftTable = { family: NFPROTO.INET, name: 'keelson_masquerade' };
const HOOK_CHAIN = 'postrouting';
const SOURCE_NAT_PRIORITY = 100;
const MAPS = [
  { name: 'pods4', family: NFPROTO.IPV4, type: 'ipv4_addr', multicast: '224.0.0.0/4' },
  { name: 'pods6', family: NFPROTO.IPV6, type: 'ipv6_addr', multicast: 'ff00::/8' },
] as const;

export async function masqueradeByNftables(
  at: FirewallPlace,
  cidrs: readonly Cidr[],
  call: PluginCall,
): Promise<void> {
  const comment = ownerComment(call);
  const elements = cidrs.map((cidr) => ({
    map: mapOf(cidr).name,
    key: cidr.ip,
    data: { code: 'goto', chain: chainOf(cidr) } as const,
    comment,
  }));
  await claimElements(ownedBy(at), elements, {
    chains: cidrs.map(chainOf),
    prepare: () => structure(cidrs),
  });
}

/** Undoes it. What addresses there were is a hint that may be wrong, and may be missing. */
export async function unmasqueradeByNftables(
  at: FirewallPlace,
  cidrs: readonly Cidr[],
  call: PluginCall,
): Promise<void> {
  const supposed = cidrs.map((cidr) => ({ map: mapOf(cidr).name, key: cidr.ip }));
  await releaseElements(ownedBy(at), call, supposed);
}

export async function collectMasqueradeByNftables(
  at: FirewallPlace,
  call: PluginCall,
): Promise<void> {
  await collectElements(ownedBy(at), call);
}

/** Whether all of the addresses are masqueraded for the attachment. */
export async function isMasqueradedByNftables(
  at: FirewallPlace,
  cidrs: readonly Cidr[],
  call: PluginCall,
): Promise<boolean> {
  const found = await elementsOf(ownedBy(at), call);
  return cidrs.every((cidr) => found.some(({ key }) => key.equals(cidr.ip)));
}

function ownedBy({ host, turns }: FirewallPlace): OwnedElements {
  return { socket: host.netfilter, table: TABLE, maps: MAPS.map(({ name }) => name), turns };
}

/** The table with its maps and the chains of the subnets, made or put right. */
function structure(cidrs: readonly Cidr[]): NetlinkRequest[] {
  const subnets = new Map(cidrs.map((cidr) => [chainOf(cidr), cidr]));
  return [
    addTable(TABLE),
    ...MAPS.map((map, i) =>
      addMap(TABLE, { name: map.name, key: [map.type], data: 'verdict' }, i + 1),
    ),
    addChain(TABLE, HOOK_CHAIN, {
      type: 'nat',
      hook: 'postrouting',
      priority: SOURCE_NAT_PRIORITY,
    }),
    flushChain(TABLE, HOOK_CHAIN),
    ...MAPS.map(({ name, family }) =>
      appendRule(TABLE, {
        chain: HOOK_CHAIN,
        expressions: [matchFamily(family), [loadAddress(family, 'saddr')], verdictOf(name)],
      }),
    ),
    ...[...subnets].flatMap(([chain, cidr]) => subnetChain(chain, cidr)),
  ];
}

function subnetChain(chain: string, cidr: Cidr): NetlinkRequest[] {
  const multicast = parseCidr(mapOf(cidr).multicast);
  return [
    addChain(TABLE, chain),
    flushChain(TABLE, chain),
    appendRule(TABLE, {
      chain,
      expressions: [
        matchFamily(nfprotoOf(cidr.ip)),
        matchAddress('daddr', networkOf(cidr), false),
        ...(multicast === undefined ? [] : [matchAddress('daddr', multicast, false)]),
        masquerade(),
      ],
    }),
  ];
}

function mapOf(cidr: Cidr) {
  return cidr.ip.length === 4 ? MAPS[0] : MAPS[1];
}

/** nft(8) takes no colons in names. */
function chainOf(cidr: Cidr): string {
  return `outside_${formatCidr(networkOf(cidr)).replaceAll(':', '-')}`;
}
