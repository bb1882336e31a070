import { addressOfCidr, type CniIp, type CniResult, familyOfCidr } from '../spec/index.ts';

/** What a pod got from its networks. */
export interface PodNetwork {
  /** Addresses on the first network, without prefix length; the pod's primary one first: its first IPv4 address, if any. */
  ips: string[];
  /** One for each network, in order: eth0, eth1 … */
  results: CniResult[];
}

/** The network of a pod from its results, the first of which is about `eth0`. */
export function podNetworkOf(results: CniResult[]): PodNetwork {
  const [first] = results;
  const ips = first === undefined ? [] : addressesOfPod(first, 'eth0');
  const primary = ips.find(({ address }) => familyOfCidr(address) === 4) ?? ips[0];
  const ordered = primary === undefined ? [] : [primary, ...ips.filter((ip) => ip !== primary)];
  return { ips: ordered.map(({ address }) => addressOfCidr(address)), results };
}

/**
 * The addresses on the pod's interface. A plugin may leave out the interface of an
 * address, or call it otherwise than it was told.
 */
function addressesOfPod(result: CniResult, ifname: string): CniIp[] {
  const interfaceOf = (ip: CniIp) =>
    ip.interface === undefined ? undefined : result.interfaces[ip.interface];
  const inside = result.ips.filter((ip) => interfaceOf(ip)?.sandbox !== undefined);
  const named = inside.filter((ip) => interfaceOf(ip)?.name === ifname);
  const unplaced = result.ips.filter((ip) => interfaceOf(ip) === undefined);
  return named.length + unplaced.length > 0 ? [...named, ...unplaced] : inside;
}
