import { type Cidr, type Ip, isUnspecified, isV4 } from '../../../base/index.ts';
import type { CniResult, JsonReader, PluginCall } from '../../spec/index.ts';
import { cidrOf, containerIps, ipOf } from '../addresses.ts';
import { invalidConfig, readConfig } from '../plugin-definition.ts';

/** A port of the host that leads to one of the container. */
export interface PortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: Protocol;
  /** The only address of the host that it is for; undefined: all of the families below. */
  readonly hostIp: Ip | undefined;
  /** The family that an unspecified address such as `0.0.0.0` limits it to. */
  readonly family: 4 | 6 | undefined;
}

const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;

export type Protocol = keyof typeof PROTOCOLS;

/** The number of a protocol in IP headers. */
export function protocolNumber(protocol: Protocol): number {
  return PROTOCOLS[protocol];
}

export interface PortmapConfig {
  readonly mappings: readonly PortMapping[];
  /** What comes from the host itself and from the container's subnet is masqueraded. */
  readonly snat: boolean;
  /** All is masqueraded. */
  readonly masqAll: boolean;
  readonly markMasqBit: number;
  readonly externalSetMarkChain: string | undefined;
  /** iptables matches that traffic must fulfil. */
  readonly conditions: { readonly 4: readonly string[]; readonly 6: readonly string[] };
  /** Something is set that only iptables can do. */
  readonly needsIptables: boolean;
}

const DEFAULT_MARK_BIT = 13;

export function readPortmapConfig(call: PluginCall): PortmapConfig {
  const config = readConfig(call);
  const markMasqBit = config.get('markMasqBit')?.integer(0, 31);
  const externalSetMarkChain = config.get('externalSetMarkChain')?.string();
  if (markMasqBit !== undefined && externalSetMarkChain !== undefined) {
    throw invalidConfig('cannot specify externalSetMarkChain and markMasqBit');
  }
  if (externalSetMarkChain !== undefined && !/^[\w.-]{1,28}$/.test(externalSetMarkChain)) {
    throw invalidConfig(`${JSON.stringify(externalSetMarkChain)} is no name of a chain`);
  }
  const conditions = {
    4: readConditions(config, 'conditionsV4'),
    6: readConditions(config, 'conditionsV6'),
  };
  return {
    mappings: (config.get('runtimeConfig')?.get('portMappings')?.items() ?? []).map(readMapping),
    snat: config.get('snat')?.boolean() ?? true,
    masqAll: config.get('masqAll')?.boolean() ?? false,
    markMasqBit: markMasqBit ?? DEFAULT_MARK_BIT,
    externalSetMarkChain,
    conditions,
    needsIptables:
      markMasqBit !== undefined ||
      externalSetMarkChain !== undefined ||
      conditions[4].length + conditions[6].length > 0,
  };
}

/** Words of an iptables command. They end up in a line of iptables-restore. */
function readConditions(config: JsonReader, key: string): string[] {
  const words = config.get(key)?.strings() ?? [];
  const odd = words.find((word) => !/^[^\s"'\\\0]+$/.test(word));
  if (odd !== undefined) {
    throw invalidConfig(
      `${key} holds ${JSON.stringify(odd)}, which is no word of an iptables rule`,
    );
  }
  return words;
}

function readMapping(reader: JsonReader): PortMapping {
  const protocol = (reader.get('protocol')?.string() || 'tcp').toLowerCase();
  if (!isProtocol(protocol)) throw reader.error(`protocol ${JSON.stringify(protocol)} is unknown`);
  const text = reader.get('hostIP')?.address();
  const ip = text === undefined ? undefined : ipOf(text);
  return {
    hostPort: reader.required('hostPort').integer(1, 65535),
    containerPort: reader.required('containerPort').integer(1, 65535),
    protocol,
    hostIp: ip === undefined || isUnspecified(ip) ? undefined : ip,
    family: ip === undefined ? undefined : isV4(ip) ? 4 : 6,
  };
}

function isProtocol(text: string): text is Protocol {
  return Object.hasOwn(PROTOCOLS, text);
}

/** The mappings that lead to an address, the last one of those for the same port. */
export function mappingsFor(config: PortmapConfig, ip: Ip): PortMapping[] {
  const family = isV4(ip) ? 4 : 6;
  const fitting = config.mappings.filter(
    (one) => one.family === undefined || one.family === family,
  );
  const key = (one: PortMapping) =>
    `${one.protocol} ${one.hostPort} ${one.hostIp?.toString('hex') ?? ''}`;
  return [...new Map(fitting.map((one) => [key(one), one])).values()];
}

/** The first address of each family that the container's interface has. */
export function targets(result: CniResult, ifname: string): Cidr[] {
  const cidrs = containerIps(result, ifname).map((ip) => cidrOf(ip.address));
  const first = (size: number) => cidrs.find(({ ip }) => ip.length === size);
  return [first(4), first(16)].filter((cidr) => cidr !== undefined);
}
