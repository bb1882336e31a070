import {
  type Cidr,
  containsIp,
  formatCidr,
  formatIp,
  type Ip,
  isV4,
  lastIpOf,
  networkOf,
  nextIp,
} from '../../../base/index.ts';
import type { JsonReader } from '../../spec/index.ts';
import { readCidr, readIp } from '../addresses.ts';
import { invalidConfig } from '../plugin-definition.ts';

/** Addresses to give out: from `start` to `end`, both included, without the gateway. */
export interface Range {
  readonly subnet: Cidr;
  readonly start: Ip;
  readonly end: Ip;
  readonly gateway: Ip;
}

/** Ranges of one family, of which a container gets one address. */
export type RangeSet = readonly Range[];

/** An address with what the container needs to know about its subnet. */
export interface Allocatable {
  readonly address: Cidr;
  readonly gateway: Ip;
}

/**
 * A range with what is left out filled in: the gateway is the first address of the subnet,
 * the range all of it, without the broadcast address of IPv4.
 */
export function readRange(reader: JsonReader): Range {
  const given = readCidr(reader.required('subnet'));
  const network = networkOf(given);
  const subnet = formatCidr(given);
  if (given.prefix > given.ip.length * 8 - 2) throw reader.error(`network ${subnet} is too small`);
  if (!network.ip.equals(given.ip)) {
    throw reader.error(`network ${subnet} has host bits set; did you mean ${formatCidr(network)}?`);
  }
  const inside = (key: string): Ip | undefined => {
    const ip = readIp(reader.get(key));
    if (ip !== undefined && !containsIp(network, ip)) {
      throw reader.error(`${key} ${formatIp(ip)} is not in network ${subnet}`);
    }
    return ip;
  };
  const start = inside('rangeStart') ?? nextIp(network.ip);
  const end = inside('rangeEnd') ?? lastUsable(network);
  if (Buffer.compare(start, end) > 0) {
    throw reader.error(`rangeEnd ${formatIp(end)} is before rangeStart ${formatIp(start)}`);
  }
  return { subnet: network, start, end, gateway: inside('gateway') ?? nextIp(network.ip) };
}

function lastUsable(network: Cidr): Ip {
  const last = lastIpOf(network);
  if (isV4(last)) last.writeUInt32BE(last.readUInt32BE() - 1);
  return last;
}

/** Throws if the ranges of a set are of both families, or sets or ranges overlap. */
export function checkRangeSets(sets: readonly RangeSet[]): void {
  if (sets.length === 0) throw invalidConfig('no IP ranges specified');
  sets.forEach((set, index) => {
    if (set.length === 0) throw invalidConfig(`range set ${index} is empty`);
    if (set.some((range) => range.start.length !== set[0]?.start.length)) {
      throw invalidConfig(`range set ${index} mixes address families`);
    }
  });
  const all = sets.flatMap((set, index) => set.map((range) => ({ range, index })));
  all.forEach((one, at) => {
    const other = all.slice(at + 1).find(({ range }) => overlap(one.range, range));
    if (other === undefined) return;
    throw invalidConfig(
      one.index === other.index
        ? `subnets ${formatRange(one.range)} and ${formatRange(other.range)} overlap`
        : `range set ${one.index} overlaps with ${other.index}`,
    );
  });
}

export function isInRange(range: Range, ip: Ip): boolean {
  return (
    ip.length === range.start.length &&
    Buffer.compare(range.start, ip) <= 0 &&
    Buffer.compare(ip, range.end) <= 0
  );
}

function overlap(a: Range, b: Range): boolean {
  return isInRange(a, b.start) || isInRange(b, a.start);
}

/**
 * All addresses of a set, once each, beginning behind `last`, so that an address is
 * reused as late as possible.
 */
export function* candidates(set: RangeSet, last: Ip | undefined): Generator<Allocatable> {
  const found = last === undefined ? -1 : set.findIndex((range) => isInRange(range, last));
  const first = Math.max(0, found);
  for (let turn = 0; turn <= set.length; turn++) {
    const range = set[(first + turn) % set.length];
    if (range === undefined) return;
    let ip = range.start;
    let end = range.end;
    if (found !== -1 && last !== undefined) {
      if (turn === 0 && last.equals(range.end)) continue;
      if (turn === 0) ip = nextIp(last);
      if (turn === set.length) end = last;
    } else if (turn === set.length) return;
    yield* addressesBetween(range, ip, end);
  }
}

function* addressesBetween(range: Range, from: Ip, to: Ip): Generator<Allocatable> {
  for (let ip = from; ; ip = nextIp(ip)) {
    if (!ip.equals(range.gateway)) yield allocatable(range, ip);
    if (ip.equals(to)) return;
  }
}

export function allocatable(range: Range, ip: Ip): Allocatable {
  return { address: { ip, prefix: range.subnet.prefix }, gateway: range.gateway };
}

export function formatRangeSet(set: RangeSet): string {
  return set.map(formatRange).join(',');
}

function formatRange(range: Range): string {
  return `${formatIp(range.start)}-${formatIp(range.end)}`;
}
