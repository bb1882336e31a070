import { formatCidr, isUnspecified, networkOf } from '../../base/index.ts';
import { AF, type Link, type NetworkNamespace, type Route } from '../../linux/index.ts';
import type { CniInterface, CniIp, CniResult, CniRoute } from '../spec/index.ts';
import { cidrOf, ipOf } from './addresses.ts';
import { checkFailed } from './plugin-definition.ts';

/** The interface of the container in a result; CHECK fails when it names none. */
export function containerInterface(result: CniResult, ifname: string, netns: string): CniInterface {
  const found = result.interfaces.find((one) => one.name === ifname && one.sandbox === netns);
  if (found === undefined) {
    throw checkFailed(`prevResult has no interface "${ifname}" in "${netns}"`);
  }
  return found;
}

/** The link of an interface in a result, of the kind and with the address that it says. */
export async function checkLink(
  namespace: NetworkNamespace,
  expected: CniInterface,
  kind: string | undefined,
): Promise<Link> {
  const link = await namespace.findLink(expected.name);
  if (link === undefined) throw checkFailed(`interface "${expected.name}" not found`);
  if (link.kind !== kind) {
    throw checkFailed(`interface "${expected.name}" is of kind ${link.kind}, not ${kind}`);
  }
  const mac = Array.from(link.mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
  if (expected.mac !== undefined && expected.mac !== '' && expected.mac.toLowerCase() !== mac) {
    throw checkFailed(`interface "${expected.name}" has address ${mac}, not ${expected.mac}`);
  }
  return link;
}

/** Throws unless the addresses and routes of a result are there. */
export async function checkAddressesAndRoutes(
  pod: NetworkNamespace,
  ifname: string,
  expected: { ips: readonly CniIp[]; routes: readonly CniRoute[] },
): Promise<void> {
  const link = await pod.findLink(ifname);
  if (link === undefined) throw checkFailed(`interface "${ifname}" not found`);
  const addresses = (await pod.addresses(link.index)).map(({ cidr }) => formatCidr(cidr));
  for (const { address } of expected.ips) {
    const wanted = formatCidr(cidrOf(address));
    if (!addresses.includes(wanted)) throw checkFailed(`"${ifname}" has no address ${wanted}`);
  }
  if (expected.routes.length === 0) return;
  const routes = [...(await pod.routes(AF.INET)), ...(await pod.routes(AF.INET6))];
  for (const route of expected.routes) {
    if (!routes.some((found) => matches(route, found))) {
      throw checkFailed(
        `no route to ${route.dst}${route.gw === undefined ? '' : ` via ${route.gw}`}`,
      );
    }
  }
}

function matches(wanted: CniRoute, found: Route): boolean {
  const destination = networkOf(cidrOf(wanted.dst));
  const { ip, prefix } = found.destination;
  if (prefix !== destination.prefix || !ip.equals(destination.ip)) return false;
  if (wanted.gw === undefined || isUnspecified(destination.ip)) return true;
  return found.gateway?.equals(ipOf(wanted.gw)) ?? false;
}
