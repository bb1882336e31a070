import {
  type Attribute,
  AttributeMap,
  bytes,
  encodeAttributes,
  listAttributes,
  nested,
  u8,
  u16,
  u32,
} from './attributes.ts';
import { encodeKind, IFLA, IFLA_BR_VLAN_FILTERING } from './link-kinds.ts';
import type { Link } from './links.ts';
import { NLM_F, type Request } from './messages.ts';

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;
const AF_BRIDGE = 7;
const IFLA_BRPORT_MODE = 4;
const IFLA_BRPORT_ISOLATED = 33;
const IFLA_BRIDGE_FLAGS = 0;
const IFLA_BRIDGE_VLAN_INFO = 2;
const BRIDGE_FLAGS_SELF = 2;
const RTEXT_FILTER_BRVLAN = 2;
const VLAN_PVID = 2;
const VLAN_UNTAGGED = 4;

export interface BridgePortFlags {
  /** Frames may leave through the port they came in by. */
  readonly hairpin?: boolean;
  /** Frames do not pass between ports that are isolated. */
  readonly isolated?: boolean;
}

export interface BridgeVlan {
  readonly id: number;
  /** Untagged frames that come in belong to this VLAN. */
  readonly pvid?: boolean;
  /** Frames of this VLAN go out untagged. */
  readonly untagged?: boolean;
  /** For the bridge itself instead of a port of it. */
  readonly self?: boolean;
}

/** Sets flags of a link as a port of a bridge. */
export function setBridgePort(index: number, flags: BridgePortFlags): Request {
  const attributes: Attribute[] = [];
  if (flags.hairpin !== undefined) attributes.push(u8(IFLA_BRPORT_MODE, Number(flags.hairpin)));
  if (flags.isolated !== undefined) {
    attributes.push(u8(IFLA_BRPORT_ISOLATED, Number(flags.isolated)));
  }
  return {
    action: `set bridge port flags of link ${index}`,
    type: RTM_SETLINK,
    flags: 0,
    body: portBody(index, [nested(IFLA.PROTINFO, attributes)]),
  };
}

/** Lets a bridge keep VLANs apart. */
export function enableVlanFiltering(index: number): Request {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  const kind = encodeKind({ type: 'bridge', vlanFiltering: true });
  return {
    action: `let bridge ${index} filter VLANs`,
    type: RTM_NEWLINK,
    flags: 0,
    body: Buffer.concat([header, encodeAttributes([kind])]),
  };
}

/** Whether a bridge keeps VLANs apart. */
export function filtersVlans(bridge: Link): boolean {
  return bridge.kindData?.u8(IFLA_BR_VLAN_FILTERING) === 1;
}

export function addBridgeVlan(index: number, vlan: BridgeVlan): Request {
  return {
    action: `add VLAN ${vlan.id} to bridge port ${index}`,
    type: RTM_SETLINK,
    flags: 0,
    body: vlanBody(index, vlan),
  };
}

export function deleteBridgeVlan(index: number, vlan: BridgeVlan): Request {
  return {
    action: `remove VLAN ${vlan.id} from bridge port ${index}`,
    type: RTM_DELLINK,
    flags: 0,
    body: vlanBody(index, vlan),
  };
}

/** Asks for the VLANs of all bridges and ports. */
export function listBridgeVlans(): Request {
  return {
    action: 'list bridge VLANs',
    type: RTM_GETLINK,
    flags: NLM_F.DUMP,
    body: portBody(0, [u32(IFLA.EXT_MASK, RTEXT_FILTER_BRVLAN)]),
  };
}

export function decodeBridgeVlans(body: Buffer): { index: number; vlans: BridgeVlan[] } {
  const spec = new AttributeMap(body.subarray(16)).bytes(IFLA.AF_SPEC) ?? Buffer.alloc(0);
  const vlans = listAttributes(spec)
    .filter(({ type, value }) => type === IFLA_BRIDGE_VLAN_INFO && value.length >= 4)
    .map(({ value }) => ({
      id: value.readUInt16LE(2),
      pvid: (value.readUInt16LE() & VLAN_PVID) !== 0,
      untagged: (value.readUInt16LE() & VLAN_UNTAGGED) !== 0,
    }));
  return { index: body.readInt32LE(4), vlans };
}

function vlanBody(index: number, vlan: BridgeVlan): Buffer {
  const info = Buffer.alloc(4);
  info.writeUInt16LE((vlan.pvid ? VLAN_PVID : 0) | (vlan.untagged ? VLAN_UNTAGGED : 0));
  info.writeUInt16LE(vlan.id, 2);
  return portBody(index, [
    nested(IFLA.AF_SPEC, [
      ...(vlan.self ? [u16(IFLA_BRIDGE_FLAGS, BRIDGE_FLAGS_SELF)] : []),
      bytes(IFLA_BRIDGE_VLAN_INFO, info),
    ]),
  ]);
}

function portBody(index: number, attributes: Attribute[]): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt8(AF_BRIDGE);
  header.writeInt32LE(index, 4);
  return Buffer.concat([header, encodeAttributes(attributes)]);
}
