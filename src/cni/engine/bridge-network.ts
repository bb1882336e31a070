import { familyOfCidr } from '../spec/index.ts';

export interface BridgeNetworkOptions {
  name: string;
  /** The bridge's interface name, 15 bytes at most. */
  bridge: string;
  /** One for each address that a pod gets: at most one of each family makes sense. */
  subnets: readonly string[];
  /** Where host-local keeps the addresses given out. Default: its own, `/var/lib/cni/networks`. */
  dataDir?: string;
}

/**
 * The configuration of a network that needs nothing but this host: a bridge that is the
 * pods' gateway, addresses given out locally, masquerading outwards, host ports.
 */
export function bridgeNetwork(options: BridgeNetworkOptions): object {
  const { name, bridge, subnets, dataDir } = options;
  const families = new Set(subnets.map(familyOfCidr));
  return {
    // 1.0.0, because the plugins that distributions ship do not know 1.1.0 yet.
    cniVersion: '1.0.0',
    name,
    plugins: [
      {
        type: 'bridge',
        bridge,
        isGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          ranges: subnets.map((subnet) => [{ subnet }]),
          routes: [
            ...(families.has(4) ? [{ dst: '0.0.0.0/0' }] : []),
            ...(families.has(6) ? [{ dst: '::/0' }] : []),
          ],
          ...(dataDir === undefined ? {} : { dataDir }),
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}

/** The network of a daemon that was told to bring its own. */
export const DEFAULT_BRIDGE: BridgeNetworkOptions = {
  name: 'keelson',
  bridge: 'keelson0',
  subnets: ['10.85.0.0/16'],
};
