import { type Cidr, formatIp, isV4, networkOf, nextIp } from '../../../base/index.ts';
import type { CniResult } from '../../spec/index.ts';
import { cidrOf, ipOf } from '../addresses.ts';
import type { BridgeConfig } from './configuration.ts';

const DEFAULT_ROUTES = { 4: '0.0.0.0/0', 6: '::/0' } as const;

/**
 * Completes an IPAM result: addresses belong to the container's interface, gateways that
 * are missing are the first address of the subnet, and with `isDefaultGateway` each family
 * has a default route. Answers the addresses that the bridge is to have.
 */
export function completeGateways(
  result: CniResult,
  config: Pick<BridgeConfig, 'isGateway' | 'isDefaultGateway'>,
  containerInterface: number,
): Cidr[] {
  const gateways: Cidr[] = [];
  for (const ip of result.ips) {
    ip.interface = containerInterface;
    const cidr = cidrOf(ip.address);
    if (!config.isGateway) continue;
    ip.gateway ??= formatIp(nextIp(networkOf(cidr).ip));
    gateways.push({ ip: ipOf(ip.gateway), prefix: cidr.prefix });
    const dst = DEFAULT_ROUTES[isV4(cidr.ip) ? 4 : 6];
    const present = result.routes.some((route) => route.dst === dst && route.gw !== undefined);
    if (config.isDefaultGateway && !present) result.routes.push({ dst, gw: ip.gateway });
  }
  return gateways;
}
