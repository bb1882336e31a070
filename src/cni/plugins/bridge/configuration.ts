import type { CniDns, JsonReader, PluginCall } from '../../spec/index.ts';
import { readDns } from '../dns.ts';
import { readMac } from '../mac.ts';
import { invalidConfig, readConfig } from '../plugin-definition.ts';

export interface BridgeConfig {
  readonly bridge: string;
  /** The bridge gets the gateway's address. */
  readonly isGateway: boolean;
  /** The container's default route leads to the bridge. */
  readonly isDefaultGateway: boolean;
  /** Another address that the bridge has goes away. */
  readonly forceAddress: boolean;
  /** 0: the kernel's default. */
  readonly mtu: number;
  readonly hairpinMode: boolean;
  readonly promiscMode: boolean;
  /** VLAN of the container's untagged frames; 0: none. */
  readonly vlan: number;
  /** VLANs that the container may use tagged. */
  readonly trunk: readonly number[];
  readonly vlanFiltering: boolean;
  /** The port stays in the bridge's default VLAN too. */
  readonly preserveDefaultVlan: boolean;
  readonly macSpoofCheck: boolean;
  readonly enableDad: boolean;
  /** The container's interface stays down. */
  readonly disableContainerInterface: boolean;
  readonly portIsolation: boolean;
  readonly mac: Buffer | undefined;
  readonly dns: CniDns;
}

const LARGEST_VLAN = 4094;

export function readBridgeConfig(call: PluginCall): BridgeConfig {
  const config = readConfig(call);
  const bool = (key: string, fallback = false) => config.get(key)?.boolean() ?? fallback;
  const isDefaultGateway = bool('isDefaultGateway');
  const result: BridgeConfig = {
    bridge: config.get('bridge')?.string() || 'cni0',
    isDefaultGateway,
    isGateway: isDefaultGateway || bool('isGateway'),
    forceAddress: bool('forceAddress'),
    mtu: config.get('mtu')?.integer(0, 65535) ?? 0,
    hairpinMode: bool('hairpinMode'),
    promiscMode: bool('promiscMode'),
    vlan: config.get('vlan')?.integer(0, LARGEST_VLAN) ?? 0,
    trunk: readTrunk(config.get('vlanTrunk')),
    vlanFiltering: false,
    preserveDefaultVlan: bool('preserveDefaultVlan', true),
    macSpoofCheck: bool('macspoofchk'),
    enableDad: bool('enabledad'),
    disableContainerInterface: bool('disableContainerInterface'),
    portIsolation: bool('portIsolation'),
    mac: readMac(call),
    dns: readDns(config.get('dns')),
  };
  check(result, config);
  return { ...result, vlanFiltering: result.vlan > 0 || config.get('vlanTrunk') !== undefined };
}

function check(config: BridgeConfig, reader: JsonReader): void {
  if (config.vlan > 0 && config.trunk.length > 0) {
    throw invalidConfig('cannot set vlan and vlanTrunk at the same time');
  }
  if (config.hairpinMode && config.promiscMode) {
    throw invalidConfig('cannot set hairpin mode and promiscuous mode at the same time');
  }
  if (
    config.disableContainerInterface &&
    (reader.get('ipam')?.get('type')?.string() ?? '') !== ''
  ) {
    throw invalidConfig('cannot use IPAM when disableContainerInterface is set');
  }
}

function readTrunk(reader: JsonReader | undefined): number[] {
  const ids = (reader?.items() ?? []).flatMap((item) => {
    const id = (key: string) => item.get(key)?.integer(1, LARGEST_VLAN);
    const [from, to, single] = [id('minID'), id('maxID'), id('id')];
    if ((from === undefined) !== (to === undefined)) {
      throw item.error('minID and maxID must be set together');
    }
    if (from !== undefined && to !== undefined && to < from) {
      throw item.error('minID is greater than maxID');
    }
    const range =
      from === undefined || to === undefined
        ? []
        : Array.from({ length: to - from + 1 }, (_, i) => from + i);
    return [...range, ...(single === undefined ? [] : [single])];
  });
  return [...new Set(ids)].sort((a, b) => a - b);
}
