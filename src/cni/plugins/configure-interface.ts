import { formatIp, isV4, sleep } from '../../base/index.ts';
import {
  AF,
  addAddress,
  addRoute,
  changeLink,
  type NetworkNamespace,
  type Route,
} from '../../linux/index.ts';
import { CNI_ERROR, CniError, type CniIp, type CniResult } from '../spec/index.ts';
import { cidrOf, ipOf } from './addresses.ts';

/** How long the kernel may take to see that nobody else has an IPv6 address, in milliseconds. */
const SETTLE_TIMEOUT = 5000;

export interface InterfaceConfiguration {
  readonly pod: NetworkNamespace;
  readonly ifname: string;
  readonly result: CniResult;
  readonly signal: AbortSignal;
}

/**
 * Sets the container's interface up, with the addresses and routes of a result. A route
 * without gateway takes the first gateway of its family.
 */
export async function configureInterface(options: InterfaceConfiguration): Promise<void> {
  const { pod, ifname, result } = options;
  const ips = result.ips.filter((ip) => belongsTo(result, ip, ifname));
  const link = await pod.link(ifname);
  const v6 = ips.some((ip) => !isV4(cidrOf(ip.address).ip));
  if (v6) enableIpv6(pod, ifname);
  await pod.change(
    changeLink(link.index, { up: true }),
    ...ips.map((ip) => addAddress(link.index, cidrOf(ip.address))),
    ...routesOf(result, ips, link.index).map(addRoute),
  );
  const gateways = ips.flatMap((ip) => (ip.gateway === undefined ? [] : [ipOf(ip.gateway)]));
  if (gateways.some((gateway) => !isV4(gateway))) await settle(options, link.index);
}

/** An address that names another interface is a fault of the IPAM plugin. */
function belongsTo(result: CniResult, ip: CniIp, ifname: string): boolean {
  if (ip.interface === undefined) return false;
  if (result.interfaces[ip.interface]?.name === ifname) return true;
  throw new CniError(
    CNI_ERROR.INTERNAL,
    `Cannot add address ${ip.address} to "${ifname}": invalid interface index ${ip.interface}`,
  );
}

function enableIpv6(pod: NetworkNamespace, ifname: string): void {
  for (const name of ['lo', ifname]) {
    const sysctl = `net/ipv6/conf/${name}/disable_ipv6`;
    const value = pod.readSysctl(sysctl);
    if (value !== undefined && value !== '0') pod.writeSysctls({ [sysctl]: '0' });
  }
  pod.writeSysctls({ [`net/ipv6/conf/${ifname}/keep_addr_on_down`]: '1' });
}

function routesOf(result: CniResult, ips: readonly CniIp[], link: number): Route[] {
  const gateways = ips.flatMap((ip) => (ip.gateway === undefined ? [] : [ipOf(ip.gateway)]));
  return result.routes.map((route) => {
    const destination = cidrOf(route.dst);
    const { mtu, advmss, priority, table, scope } = route;
    const gateway =
      route.gw === undefined
        ? gateways.find((candidate) => candidate.length === destination.ip.length)
        : ipOf(route.gw);
    return {
      destination,
      link,
      // A destination on the link has no gateway.
      gateway: scope === undefined || scope === 0 || route.gw !== undefined ? gateway : undefined,
      ...{ mtu, advmss, priority, table, scope },
    };
  });
}

/** Waits until the kernel lets IPv6 addresses be used. */
async function settle(
  { pod, ifname, signal }: InterfaceConfiguration,
  link: number,
): Promise<void> {
  const deadline = Date.now() + SETTLE_TIMEOUT;
  for (let pause = 1; ; pause = Math.min(50, pause * 2)) {
    const addresses = await pod.addresses(link, AF.INET6);
    const duplicate = addresses.find((address) => address.duplicate);
    if (duplicate !== undefined) {
      throw new CniError(
        CNI_ERROR.INTERNAL,
        `Address ${formatIp(duplicate.cidr.ip)} of "${ifname}" is in use elsewhere`,
      );
    }
    if (!addresses.some((address) => address.tentative)) return;
    if (Date.now() > deadline) {
      throw new CniError(CNI_ERROR.TRY_AGAIN_LATER, `Addresses of "${ifname}" are still tentative`);
    }
    await sleep(pause, signal);
  }
}
