import { randomBytes } from 'node:crypto';
import { errnoOf } from '../../base/index.ts';
import { createLink, deleteLink, type Link, type NetworkNamespace } from '../../linux/index.ts';
import { CNI_ERROR, CniError } from '../spec/index.ts';

const ATTEMPTS = 10;

export interface VethRequest {
  readonly host: NetworkNamespace;
  readonly pod: NetworkNamespace;
  /** Name of the end in the pod. */
  readonly ifname: string;
  /** Name of the end on the host; left out: `veth` and random digits. */
  readonly hostName?: string;
  readonly mtu?: number | undefined;
  readonly mac?: Uint8Array | undefined;
  /** Index of the bridge that the host's end belongs to. */
  readonly master?: number;
}

/**
 * Makes a veth pair between the host and a pod, both ends down. The host's end takes no
 * router advertisements: its routes are the plugin's.
 */
export async function createVeth(request: VethRequest): Promise<{ host: Link; pod: Link }> {
  const name = await create(request);
  const host = await request.host.link(name);
  request.host.writeSysctls({ [`net/ipv6/conf/${name}/accept_ra`]: '0' });
  return { host, pod: await request.pod.link(request.ifname) };
}

async function create(request: VethRequest): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const name = request.hostName ?? `veth${randomBytes(4).toString('hex')}`;
    try {
      await request.host.change(createLink(vethLink(request, name)));
      return name;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      const ours = request.hostName === undefined && attempt < ATTEMPTS;
      if (ours && (await request.pod.findLink(request.ifname)) === undefined) continue;
      throw new CniError(
        CNI_ERROR.INTERNAL,
        `Container interface name "${request.ifname}" (peer "${name}") already exists`,
      );
    }
  }
}

function vethLink({ pod, ifname, mtu, mac, master }: VethRequest, name: string) {
  const size = mtu === undefined || mtu === 0 ? {} : { mtu };
  const peer = { name: ifname, namespace: pod.fd, ...size, ...(mac === undefined ? {} : { mac }) };
  return {
    name,
    kind: { type: 'veth', peer } as const,
    ...size,
    ...(master === undefined ? {} : { master }),
  };
}

/** Deletes a link, and answers whether there was one. */
export async function deleteLinkIfExists(
  namespace: NetworkNamespace,
  name: string,
): Promise<boolean> {
  try {
    await namespace.change(deleteLink(name));
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENODEV') return false;
    throw error;
  }
}
