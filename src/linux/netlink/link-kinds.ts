import {
  type Attribute,
  bytes,
  encodeAttributes,
  nested,
  text,
  u8,
  u16,
  u32,
} from './attributes.ts';

/** What a new link is, with the settings of its kind (linux/if_link.h, IFLA_LINKINFO). */
export type LinkKind =
  | { readonly type: 'veth'; readonly peer: VethPeer }
  | { readonly type: 'bridge'; readonly vlanFiltering?: boolean }
  | { readonly type: 'macvlan'; readonly mode: MacvlanMode; readonly broadcastQueueLength?: number }
  | { readonly type: 'ipvlan'; readonly mode: IpvlanMode }
  | { readonly type: 'vlan'; readonly id: number }
  | { readonly type: 'vrf'; readonly table: number }
  | { readonly type: 'dummy' | 'ifb' };

/** The other end of a veth pair; it starts down. */
export interface VethPeer {
  readonly name: string;
  readonly mtu?: number;
  readonly mac?: Uint8Array;
  /** File descriptor of the network namespace that it is made in. */
  readonly namespace?: number;
}

const MACVLAN_MODES = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
const IPVLAN_MODES = { l2: 0, l3: 1, l3s: 2 } as const;

export type MacvlanMode = keyof typeof MACVLAN_MODES;
export type IpvlanMode = keyof typeof IPVLAN_MODES;

export const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  PROTINFO: 12,
  TXQLEN: 13,
  OPERSTATE: 16,
  LINKINFO: 18,
  IFALIAS: 20,
  AF_SPEC: 26,
  NET_NS_FD: 28,
  EXT_MASK: 29,
  PROMISCUITY: 30,
  LINK_NETNSID: 37,
} as const;

export const IFLA_INFO = { KIND: 1, DATA: 2 } as const;

const VETH_INFO_PEER = 1;
export const IFLA_BR_VLAN_FILTERING = 7;
const IFLA_MACVLAN_MODE = 1;
const IFLA_MACVLAN_BC_QUEUE_LEN = 7;
const IFLA_IPVLAN_MODE = 1;
const IFLA_VLAN_ID = 1;
const IFLA_VRF_TABLE = 1;

/** IFLA_LINKINFO of a link to be created. */
export function encodeKind(kind: LinkKind): Attribute {
  const data = kindData(kind);
  return nested(IFLA.LINKINFO, [
    text(IFLA_INFO.KIND, kind.type),
    ...(data.length === 0 ? [] : [nested(IFLA_INFO.DATA, data)]),
  ]);
}

function kindData(kind: LinkKind): Attribute[] {
  switch (kind.type) {
    case 'veth':
      return [bytes(VETH_INFO_PEER | 0x8000, encodePeer(kind.peer))];
    case 'bridge':
      return kind.vlanFiltering ? [u8(IFLA_BR_VLAN_FILTERING, 1)] : [];
    case 'macvlan':
      return [
        u32(IFLA_MACVLAN_MODE, MACVLAN_MODES[kind.mode]),
        ...(kind.broadcastQueueLength === undefined
          ? []
          : [u32(IFLA_MACVLAN_BC_QUEUE_LEN, kind.broadcastQueueLength)]),
      ];
    case 'ipvlan':
      return [u16(IFLA_IPVLAN_MODE, IPVLAN_MODES[kind.mode])];
    case 'vlan':
      return [u16(IFLA_VLAN_ID, kind.id)];
    case 'vrf':
      return [u32(IFLA_VRF_TABLE, kind.table)];
    default:
      return [];
  }
}

/** A peer is described by a link message of its own: struct ifinfomsg and attributes. */
function encodePeer(peer: VethPeer): Buffer {
  return Buffer.concat([
    Buffer.alloc(16),
    encodeAttributes([
      text(IFLA.IFNAME, peer.name),
      ...(peer.mtu === undefined ? [] : [u32(IFLA.MTU, peer.mtu)]),
      ...(peer.mac === undefined ? [] : [bytes(IFLA.ADDRESS, peer.mac)]),
      ...(peer.namespace === undefined ? [] : [u32(IFLA.NET_NS_FD, peer.namespace)]),
    ]),
  ]);
}
