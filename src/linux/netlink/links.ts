import { type Attribute, AttributeMap, bytes, encodeAttributes, text, u32 } from './attributes.ts';
import { encodeKind, IFLA, IFLA_INFO, type LinkKind } from './link-kinds.ts';
import { NLM_F, type Request } from './messages.ts';

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;

/** Interface flags, from linux/if.h. */
const IFF = { UP: 0x1, PROMISC: 0x100, ALLMULTI: 0x200 } as const;

const OPERATIONAL_STATES = [
  'unknown',
  'notpresent',
  'down',
  'lowerlayerdown',
  'testing',
  'dormant',
  'up',
] as const;

/** A link by its index or its name. */
export type LinkRef = number | string;

export interface LinkSettings {
  readonly mtu?: number;
  readonly mac?: Uint8Array;
  readonly up?: boolean;
  /** Index of the bridge or VRF that it belongs to; 0 takes it out. */
  readonly master?: number;
  readonly promiscuous?: boolean;
  readonly allMulticast?: boolean;
  readonly txQueueLength?: number;
  /** Descriptive text. Empty removes it. */
  readonly alias?: string;
  /** File descriptor of the network namespace that it goes to. */
  readonly namespace?: number;
}

export interface NewLink extends LinkSettings {
  readonly name: string;
  readonly kind: LinkKind;
  /** Index of the link below it: the master of a macvlan, ipvlan or VLAN. */
  readonly parent?: number;
}

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly mtu: number;
  readonly mac: Buffer;
  readonly up: boolean;
  readonly promiscuous: boolean;
  readonly allMulticast: boolean;
  readonly operationalState: (typeof OPERATIONAL_STATES)[number];
  readonly master: number | undefined;
  /** IFLA_LINK: the link below, or the other end of a veth; perhaps in another namespace. */
  readonly parent: number | undefined;
  /** True when `parent` counts in another namespace. */
  readonly parentElsewhere: boolean;
  readonly txQueueLength: number;
  readonly alias: string | undefined;
  /** `veth`, `bridge`, …; undefined for a physical device and loopback. */
  readonly kind: string | undefined;
  /** The settings of its kind. */
  readonly kindData: AttributeMap | undefined;
}

/** Creates a link. */
export function createLink(link: NewLink): Request {
  return {
    action: `create ${link.kind.type} "${link.name}"`,
    type: RTM_NEWLINK,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: linkBody(0, link, [
      text(IFLA.IFNAME, link.name),
      ...(link.parent === undefined ? [] : [u32(IFLA.LINK, link.parent)]),
      encodeKind(link.kind),
    ]),
  };
}

/** Changes a link, which goes by its index. `name` renames it; it must be down for that. */
export function changeLink(index: number, change: LinkSettings & { name?: string }): Request {
  return {
    action: `change link ${change.name === undefined ? index : `${index} to "${change.name}"`}`,
    type: RTM_NEWLINK,
    flags: 0,
    body: linkBody(
      index,
      change,
      change.name === undefined ? [] : [text(IFLA.IFNAME, change.name)],
    ),
  };
}

export function deleteLink(link: LinkRef): Request {
  return {
    action: `delete link ${describe(link)}`,
    type: RTM_DELLINK,
    flags: 0,
    body: refBody(link),
  };
}

/** Asks for one link; ENODEV when there is none. */
export function getLink(link: LinkRef): Request {
  return {
    action: `find link ${describe(link)}`,
    type: RTM_GETLINK,
    flags: 0,
    body: refBody(link),
  };
}

export function listLinks(): Request {
  return { action: 'list links', type: RTM_GETLINK, flags: 0, body: header(0, 0, 0) };
}

export function decodeLink(body: Buffer): Link {
  const flags = body.readUInt32LE(8);
  const attributes = new AttributeMap(body.subarray(16));
  const info = attributes.nested(IFLA.LINKINFO);
  return {
    index: body.readInt32LE(4),
    name: attributes.text(IFLA.IFNAME) ?? '',
    mtu: attributes.u32(IFLA.MTU) ?? 0,
    mac: Buffer.from(attributes.bytes(IFLA.ADDRESS) ?? []),
    up: (flags & IFF.UP) !== 0,
    promiscuous: (flags & IFF.PROMISC) !== 0,
    allMulticast: (flags & IFF.ALLMULTI) !== 0,
    operationalState: OPERATIONAL_STATES[attributes.u8(IFLA.OPERSTATE) ?? 0] ?? 'unknown',
    master: attributes.u32(IFLA.MASTER),
    parent: attributes.u32(IFLA.LINK),
    parentElsewhere: attributes.has(IFLA.LINK_NETNSID),
    txQueueLength: attributes.u32(IFLA.TXQLEN) ?? 0,
    alias: attributes.text(IFLA.IFALIAS),
    kind: info?.text(IFLA_INFO.KIND),
    kindData: info?.nested(IFLA_INFO.DATA),
  };
}

function linkBody(index: number, settings: LinkSettings, more: Attribute[]): Buffer {
  let flags = 0;
  let mask = 0;
  const flag = (bit: number, value: boolean | undefined) => {
    if (value === undefined) return;
    mask |= bit;
    if (value) flags |= bit;
  };
  flag(IFF.UP, settings.up);
  flag(IFF.PROMISC, settings.promiscuous);
  flag(IFF.ALLMULTI, settings.allMulticast);
  return Buffer.concat([
    header(index, flags, mask),
    encodeAttributes([...more, ...settingAttributes(settings)]),
  ]);
}

function settingAttributes(settings: LinkSettings): Attribute[] {
  const attributes: Attribute[] = [];
  const number = (type: number, value: number | undefined) => {
    if (value !== undefined) attributes.push(u32(type, value));
  };
  number(IFLA.MTU, settings.mtu);
  number(IFLA.MASTER, settings.master);
  number(IFLA.TXQLEN, settings.txQueueLength);
  number(IFLA.NET_NS_FD, settings.namespace);
  if (settings.mac !== undefined) attributes.push(bytes(IFLA.ADDRESS, settings.mac));
  // The kernel takes an alias without NUL; none at all removes it.
  if (settings.alias !== undefined) {
    attributes.push(bytes(IFLA.IFALIAS, Buffer.from(settings.alias)));
  }
  return attributes;
}

function refBody(link: LinkRef): Buffer {
  if (typeof link === 'number') return header(link, 0, 0);
  return Buffer.concat([header(0, 0, 0), encodeAttributes([text(IFLA.IFNAME, link)])]);
}

/** struct ifinfomsg. */
function header(index: number, flags: number, mask: number): Buffer {
  const buffer = Buffer.alloc(16);
  buffer.writeInt32LE(index, 4);
  buffer.writeUInt32LE(flags, 8);
  buffer.writeUInt32LE(mask, 12);
  return buffer;
}

function describe(link: LinkRef): string {
  return typeof link === 'number' ? `${link}` : `"${link}"`;
}

/** `aa:bb:cc:dd:ee:ff`. */
export function formatMac(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** A 48-bit hardware address written with colons or hyphens; undefined if `text` is none. */
export function parseMac(text: string): Buffer | undefined {
  if (!/^[0-9a-f]{2}([:-])[0-9a-f]{2}(\1[0-9a-f]{2}){4}$/i.test(text)) return undefined;
  return Buffer.from(text.replaceAll(/[:-]/g, ''), 'hex');
}
