import { type Cidr, containsIp, formatCidr, isV4 } from '../../../base/index.ts';
import {
  addAddress,
  addBridgeVlan,
  changeLink,
  createLink,
  decodeBridgeVlans,
  deleteAddress,
  deleteBridgeVlan,
  enableVlanFiltering,
  familyOf,
  filtersVlans,
  type Link,
  listBridgeVlans,
  type NetlinkRequest,
  type NetworkNamespace,
  setBridgePort,
} from '../../../linux/index.ts';
import { CNI_ERROR, CniError } from '../../spec/index.ts';
import { createVeth } from '../veth.ts';
import type { BridgeConfig } from './configuration.ts';

/** The bridge of a network, made if it is not there, and up. */
export async function ensureBridge(host: NetworkNamespace, config: BridgeConfig): Promise<Link> {
  const name = config.bridge;
  let bridge = await host.findLink(name);
  if (bridge === undefined) {
    const create = createLink({
      name,
      kind: { type: 'bridge', vlanFiltering: config.vlanFiltering },
      ...(config.mtu === 0 ? {} : { mtu: config.mtu }),
    });
    // Another pod of the network may be making it too.
    await host.change({ ...create, tolerate: ['EEXIST'] });
    bridge = await host.link(name);
  }
  if (bridge.kind !== 'bridge') {
    throw new CniError(CNI_ERROR.INTERNAL, `"${name}" already exists but is not a bridge`);
  }
  host.writeSysctls({ [`net/ipv6/conf/${name}/accept_ra`]: '0' });
  if (config.vlanFiltering && !filtersVlans(bridge)) {
    await host.change(enableVlanFiltering(bridge.index));
  }
  const promiscuous = config.promiscMode && !bridge.promiscuous;
  if (bridge.up && !promiscuous) return bridge;
  await host.change(
    changeLink(bridge.index, { up: true, ...(promiscuous ? { promiscuous } : {}) }),
  );
  return host.link(bridge.index);
}

/** Joins a link to the bridge as a port, with its flags and VLANs. */
export async function configurePort(
  host: NetworkNamespace,
  port: Link,
  config: Pick<
    BridgeConfig,
    'hairpinMode' | 'portIsolation' | 'vlan' | 'trunk' | 'preserveDefaultVlan'
  >,
): Promise<void> {
  const tagged = config.vlan > 0 || config.trunk.length > 0;
  const old = tagged && !config.preserveDefaultVlan ? await vlansOf(host, port.index) : [];
  const requests: NetlinkRequest[] = [
    setBridgePort(port.index, {
      hairpin: config.hairpinMode,
      ...(config.portIsolation ? { isolated: true } : {}),
    }),
    ...old.map((vlan) => deleteBridgeVlan(port.index, vlan)),
    ...(config.vlan > 0
      ? [addBridgeVlan(port.index, { id: config.vlan, pvid: true, untagged: true })]
      : []),
    ...config.trunk.map((id) => addBridgeVlan(port.index, { id })),
    changeLink(port.index, { up: true }),
  ];
  await host.change(...requests);
}

async function vlansOf(host: NetworkNamespace, index: number): Promise<{ id: number }[]> {
  const all = await host.route.dump(listBridgeVlans(), ({ body }) => decodeBridgeVlans(body));
  return all
    .filter((one) => one.index === index)
    .flatMap((one) => one.vlans.map(({ id }) => ({ id })));
}

/**
 * Where gateway addresses of a VLAN are: a veth pair of which one end is a port in the
 * VLAN and the other, `<bridge>.<vlan>`, carries the addresses.
 */
export async function ensureVlanInterface(
  host: NetworkNamespace,
  bridge: Link,
  config: BridgeConfig,
): Promise<Link> {
  const name = `${bridge.name}.${config.vlan}`;
  const present = await host.findLink(name);
  if (present !== undefined) return present;
  const pair = await createVeth({
    host,
    pod: host,
    ifname: name,
    mtu: bridge.mtu,
    master: bridge.index,
  });
  await configurePort(host, pair.host, {
    hairpinMode: false,
    portIsolation: false,
    vlan: config.vlan,
    trunk: [],
    preserveDefaultVlan: config.preserveDefaultVlan,
  });
  await host.change(changeLink(pair.pod.index, { up: true }));
  return host.link(name);
}

/**
 * Gives the bridge a gateway's address. IPv4 and overlapping IPv6 networks have one: with
 * `force` another one goes, else it is an error. The bridge keeps the hardware address it
 * has now: else it would change with its ports.
 */
export async function ensureGatewayAddress(
  host: NetworkNamespace,
  link: Link,
  gateway: Cidr,
  force: boolean,
): Promise<void> {
  const present = await host.addresses(link.index, familyOf(gateway.ip));
  if (present.some(({ cidr }) => formatCidr(cidr) === formatCidr(gateway))) return;
  const rivals = present.map(({ cidr }) => cidr).filter((cidr) => excludes(cidr, gateway));
  if (rivals.length > 0 && !force) {
    throw new CniError(
      CNI_ERROR.INTERNAL,
      `"${link.name}" already has an IP address different from ${formatCidr(gateway)}`,
    );
  }
  // A bridge that had no port when it was looked up had no hardware address either.
  const mac = link.mac.every((byte) => byte === 0) ? (await host.link(link.index)).mac : link.mac;
  await host.change(
    ...rivals.map((cidr) => ({ ...deleteAddress(link.index, cidr), tolerate: ['EADDRNOTAVAIL'] })),
    { ...addAddress(link.index, gateway), tolerate: ['EEXIST'] },
    changeLink(link.index, { mac }),
  );
}

function excludes(present: Cidr, gateway: Cidr): boolean {
  return isV4(gateway.ip) || containsIp(present, gateway.ip) || containsIp(gateway, present.ip);
}
