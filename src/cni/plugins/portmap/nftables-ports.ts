import {
  type Cidr,
  formatCidr,
  formatIp,
  isV4,
  networkOf,
  parseCidr,
} from '../../../base/index.ts';
import {
  addChain,
  addMap,
  addTable,
  appendRule,
  decide,
  dnatBy,
  flushChain,
  loadAddress,
  loadProtocolAndPort,
  masquerade,
  matchAddress,
  matchDestinationNat,
  matchLocalDestination,
  type NetlinkRequest,
  NFPROTO,
  type NftTable,
  nfprotoOf,
  REGISTER_32,
  verdictOf,
} from '../../../linux/index.ts';
import type { PluginCall } from '../../spec/index.ts';
import {
  claimElements,
  collectElements,
  elementsOf,
  type MapElement,
  type OwnedElements,
  ownerComment,
  releaseElements,
} from '../element-owners.ts';
import type { FirewallPlace } from '../firewall-backend.ts';
import { checkFailed } from '../plugin-definition.ts';
import {
  mappingsFor,
  type PortMapping,
  type PortmapConfig,
  protocolNumber,
} from './configuration.ts';

/**
 * Host ports by nftables. Maps lead from a port to the container's address and port, so
 * that a mapping costs one element and a packet two look-ups, however many there are. For
 * IPv4 (IPv6 alike):
 *
 *     table ip keelson_hostport {
 *       map hostip_hostports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }
 *       map hostports { type inet_proto . inet_service : ipv4_addr . inet_service }
 *       map masquerades { type ipv4_addr : verdict }
 *       chain hostports { dnat ip to … map @hostip_hostports; dnat ip to … map @hostports }
 *       chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump hostports }
 *       chain output { type nat hook output priority dstnat; fib daddr type local jump hostports }
 *       chain postrouting { type nat hook postrouting priority srcnat; ct status dnat ip daddr vmap @masquerades }
 *       chain inside_10.88.0.0/16 { ip saddr 10.88.0.0/16 masquerade; ip saddr 127.0.0.1 masquerade }
 *     }
 *
 * What a container's own subnet sends to a host port of it is masqueraded: the answer
 * would else go past the host, and come from another address than was asked.
 */
const NAME = 'keelson_hostport';
const MAPS = ['hostip_hostports', 'hostports', 'masquerades'] as const;
const DESTINATION_NAT_PRIORITY = -100;
const SOURCE_NAT_PRIORITY = 100;
const EVERYONE = 'everyone';
const LOCALHOST = '127.0.0.1/32';

export async function mapPortsByNftables(
  at: FirewallPlace,
  target: Cidr,
  config: PortmapConfig,
  call: PluginCall,
): Promise<void> {
  const owned = ownedBy(at, nfprotoOf(target.ip));
  await claimElements(owned, elementsFor(target, config, call), {
    chains: ['postrouting', ...(config.snat ? [masqueradeChainOf(target, config)] : [])],
    prepare: () => structure(owned.table, target, config),
  });
}

/** Undoes ADD in both families, whatever is known of the container. */
export async function unmapPortsByNftables(at: FirewallPlace, call: PluginCall): Promise<void> {
  for (const family of [NFPROTO.IPV4, NFPROTO.IPV6]) {
    await releaseElements(ownedBy(at, family), call);
  }
}

export async function collectPortsByNftables(at: FirewallPlace, call: PluginCall): Promise<void> {
  for (const family of [NFPROTO.IPV4, NFPROTO.IPV6]) {
    await collectElements(ownedBy(at, family), call);
  }
}

export async function checkPortsByNftables(
  at: FirewallPlace,
  target: Cidr,
  config: PortmapConfig,
  call: PluginCall,
): Promise<void> {
  const present = await elementsOf(ownedBy(at, nfprotoOf(target.ip)), call);
  for (const { map, key, data } of elementsFor(target, config, call)) {
    const found = present.find((one) => one.map === map && one.key.equals(key));
    const same = found !== undefined && (!(data instanceof Buffer) || found.value?.equals(data));
    if (!same)
      throw checkFailed(`a host port of ${formatIp(target.ip)} is missing in map "${map}"`);
  }
}

function ownedBy({ host, turns }: FirewallPlace, family: number): OwnedElements {
  return { socket: host.netfilter, table: { family, name: NAME }, maps: MAPS, turns };
}

function elementsFor(target: Cidr, config: PortmapConfig, call: PluginCall): MapElement[] {
  const comment = ownerComment(call);
  const mappings = mappingsFor(config, target.ip);
  if (mappings.length === 0) return [];
  const ports = mappings.map((mapping) => ({
    ...(mapping.hostIp === undefined
      ? { map: 'hostports', key: portKey(mapping) }
      : { map: 'hostip_hostports', key: Buffer.concat([mapping.hostIp, portKey(mapping)]) }),
    data: Buffer.concat([target.ip, padded(be16(mapping.containerPort))]),
    comment,
  }));
  if (!config.snat) return ports;
  const chain = masqueradeChainOf(target, config);
  return [...ports, { map: 'masquerades', key: target.ip, data: { code: 'goto', chain }, comment }];
}

/** Protocol and port, each padded to four bytes. */
function portKey(mapping: PortMapping): Buffer {
  const protocol = Buffer.of(protocolNumber(mapping.protocol));
  return Buffer.concat([padded(protocol), padded(be16(mapping.hostPort))]);
}

function structure(table: NftTable, target: Cidr, config: PortmapConfig): NetlinkRequest[] {
  const { family } = table;
  const address = isV4(target.ip) ? 'ipv4_addr' : 'ipv6_addr';
  const data = [address, 'inet_service'] as const;
  const nat = (hook: 'prerouting' | 'output' | 'postrouting', priority: number) => [
    addChain(table, hook, { type: 'nat', hook, priority }),
    flushChain(table, hook),
  ];
  const toPorts = [matchLocalDestination(), decide({ code: 'jump', chain: 'hostports' })];
  return [
    addTable(table),
    addMap(table, { name: MAPS[0], key: [address, 'inet_proto', 'inet_service'], data }, 1),
    addMap(table, { name: MAPS[1], key: ['inet_proto', 'inet_service'], data }, 2),
    addMap(table, { name: MAPS[2], key: [address], data: 'verdict' }, 3),
    addChain(table, 'hostports'),
    flushChain(table, 'hostports'),
    ...portRules(family).map((expressions) =>
      appendRule(table, { chain: 'hostports', expressions }),
    ),
    ...nat('prerouting', DESTINATION_NAT_PRIORITY),
    appendRule(table, { chain: 'prerouting', expressions: toPorts }),
    ...nat('output', DESTINATION_NAT_PRIORITY),
    appendRule(table, { chain: 'output', expressions: toPorts }),
    ...nat('postrouting', SOURCE_NAT_PRIORITY),
    appendRule(table, {
      chain: 'postrouting',
      expressions: [matchDestinationNat(), [loadAddress(family, 'daddr')], verdictOf(MAPS[2])],
    }),
    ...masqueradeChain(table, target, config),
  ];
}

function portRules(family: number) {
  const afterAddress = REGISTER_32 + (family === NFPROTO.IPV4 ? 1 : 4);
  return [
    [[loadAddress(family, 'daddr')], loadProtocolAndPort(afterAddress), dnatBy(MAPS[0], family)],
    [loadProtocolAndPort(REGISTER_32), dnatBy(MAPS[1], family)],
  ];
}

function masqueradeChain(table: NftTable, target: Cidr, config: PortmapConfig): NetlinkRequest[] {
  if (!config.snat) return [];
  const localhost = isV4(target.ip) ? parseCidr(LOCALHOST) : undefined;
  const sources = config.masqAll
    ? [undefined]
    : [networkOf(target), localhost].filter((one) => one !== undefined);
  const chain = masqueradeChainOf(target, config);
  return [
    addChain(table, chain),
    flushChain(table, chain),
    ...sources.map((source) =>
      appendRule(table, {
        chain,
        expressions: [
          ...(source === undefined ? [] : [matchAddress('saddr', source)]),
          masquerade(),
        ],
      }),
    ),
  ];
}

/** The chain of a subnet. nft(8) takes no colons in names. */
function masqueradeChainOf(target: Cidr, config: PortmapConfig): string {
  if (config.masqAll) return EVERYONE;
  return `inside_${formatCidr(networkOf(target)).replaceAll(':', '-')}`;
}

function be16(value: number): Buffer {
  const buffer = Buffer.alloc(2);
  buffer.writeUInt16BE(value);
  return buffer;
}

function padded(value: Buffer): Buffer {
  return Buffer.concat([value, Buffer.alloc(4 - value.length)]);
}
