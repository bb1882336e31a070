import { isUnspecified } from '../../base/index.ts';
import { AF, type Link, type NetworkNamespace, ROUTE_TABLE } from '../../linux/index.ts';
import { CNI_ERROR, CniError } from '../spec/index.ts';
import { invalidConfig, readConfig } from './plugin-definition.ts';
import type { PodLinkPlace } from './pod-link.ts';

/** The link that a macvlan, ipvlan or VLAN is on, and where it is. */
export interface ParentLink {
  readonly link: Link;
  readonly namespace: NetworkNamespace;
  /** The namespace to make the new link in, when that is not the parent's own. */
  readonly target: { readonly namespace?: number };
  /** The keys `mtu`, at most that of the parent. */
  readonly size: { readonly mtu?: number };
}

/**
 * The link that `master` names, on the host or with `linkInContainer` in the container;
 * left out: `fallback`, else that of the default route.
 */
export async function findParent(place: PodLinkPlace, fallback?: string): Promise<ParentLink> {
  const config = readConfig(place.call);
  const inContainer = config.get('linkInContainer')?.boolean() ?? false;
  const namespace = inContainer ? place.pod : place.host;
  const name = config.get('master')?.string() || fallback;
  const link =
    name === undefined ? await defaultRouteLink(namespace) : await namespace.findLink(name);
  if (link === undefined) {
    throw new CniError(CNI_ERROR.INTERNAL, `Cannot find master ${JSON.stringify(name)}`);
  }
  const mtu = config.get('mtu')?.integer(0, 0x7fffffff) ?? 0;
  if (mtu > link.mtu)
    throw invalidConfig(`invalid MTU ${mtu}, must be at most that of the master (${link.mtu})`);
  return {
    link,
    namespace,
    target: inContainer ? {} : { namespace: place.pod.fd },
    size: mtu === 0 ? {} : { mtu },
  };
}

async function defaultRouteLink(namespace: NetworkNamespace): Promise<Link> {
  const routes = [...(await namespace.routes(AF.INET)), ...(await namespace.routes(AF.INET6))];
  const found = routes.find(
    ({ destination, link, table }) =>
      table === ROUTE_TABLE.MAIN &&
      link !== undefined &&
      destination.prefix === 0 &&
      isUnspecified(destination.ip),
  );
  if (found?.link === undefined) {
    throw new CniError(CNI_ERROR.INTERNAL, 'Cannot find master: there is no default route');
  }
  return namespace.link(found.link);
}
