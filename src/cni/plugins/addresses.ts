import { type Cidr, expectValue, type Ip, parseCidr, parseIp } from '../../base/index.ts';
import type { CniIp, CniResult, CniRoute, JsonReader } from '../spec/index.ts';

/** The address with prefix that a result holds. Results are checked where they come in. */
export function cidrOf(text: string): Cidr {
  return expectValue(parseCidr(text), `address in "${text}"`);
}

/** The address that a result holds. */
export function ipOf(text: string): Ip {
  return expectValue(parseIp(text), `address in "${text}"`);
}

/** An address from a configuration; null and the empty string count as left out. */
export function readIp(reader: JsonReader | undefined): Ip | undefined {
  const text = reader?.address();
  return text === undefined ? undefined : ipOf(text);
}

/** An address with prefix from a configuration. */
export function readCidr(reader: JsonReader): Cidr {
  return cidrOf(reader.cidr());
}

/** Routes from a configuration or an IPAM section. */
export function readRoutes(reader: JsonReader | undefined): CniRoute[] {
  return (reader?.items() ?? []).map((route) => {
    const number = (key: string) => route.get(key)?.integer(0, 0xffffffff);
    const entries = {
      dst: route.required('dst').cidr(),
      gw: route.get('gw')?.address(),
      mtu: number('mtu'),
      advmss: number('advmss'),
      priority: number('priority'),
      table: number('table'),
      scope: number('scope'),
    };
    return Object.fromEntries(
      Object.entries(entries).filter(([, value]) => value !== undefined),
    ) as unknown as CniRoute;
  });
}

/**
 * The addresses of the container's interface in a result: those that name it, and those
 * that name no interface.
 */
export function containerIps(result: CniResult, ifname: string): CniIp[] {
  return result.ips.filter((ip) => {
    const at = ip.interface === undefined ? undefined : result.interfaces[ip.interface];
    return at === undefined || (at.name === ifname && (at.sandbox ?? '') !== '');
  });
}
