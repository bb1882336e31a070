import {
  type Attribute,
  AttributeMap,
  be32,
  be64,
  bytes,
  encodeAttributes,
  listAttributes,
  nested,
  text,
} from './attributes.ts';
import { NLM_F, type Request } from './messages.ts';
import { dataValue, dataVerdict, type Expression, type Verdict } from './nftables-expressions.ts';

/**
 * nftables over nfnetlink (linux/netfilter/nf_tables.h): requests for tables, chains,
 * rules, sets and their elements. Changes go through `commitRuleset`; lists and single
 * elements through the socket's `dump` and `get`.
 */
const SUBSYSTEM = 10 << 8;
const MESSAGE = {
  NEWTABLE: 0,
  NEWCHAIN: 3,
  GETCHAIN: 4,
  DELCHAIN: 5,
  NEWRULE: 6,
  GETRULE: 7,
  DELRULE: 8,
  NEWSET: 9,
  NEWSETELEM: 12,
  GETSETELEM: 13,
  DELSETELEM: 14,
  GETGEN: 16,
} as const;
const LIST_ELEMENT = 1;
const SET_FLAG_MAP = 8;
const DATA_TYPE_VERDICT = 0xffffff00;
const TYPE_BITS = 6;
const COMMENT_LIMIT = 127;

const HOOKS = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;

/** Data types of nft(8), by the numbers that it stores with a set, and their sizes in bytes. */
const TYPES = {
  ipv4_addr: [7, 4],
  ipv6_addr: [8, 16],
  inet_proto: [12, 1],
  inet_service: [13, 2],
} as const;

export type NftType = keyof typeof TYPES;

export interface NftTable {
  /** An `NFPROTO` value. */
  readonly family: number;
  readonly name: string;
}

export interface NftBaseChain {
  readonly type: 'nat' | 'filter';
  readonly hook: keyof typeof HOOKS;
  readonly priority: number;
}

export interface NftElement {
  readonly key: Uint8Array;
  readonly data?: Uint8Array | Verdict;
  readonly comment?: string;
}

export function addTable(table: NftTable): Request {
  return request(table, 'NEWTABLE', { what: `add table "${table.name}"`, create: true }, [
    text(1, table.name),
  ]);
}

/** Adds a chain unless it is there; with `base`, one that packets enter by a hook. */
export function addChain(table: NftTable, name: string, base?: NftBaseChain): Request {
  return request(table, 'NEWCHAIN', { what: `add chain "${name}"`, create: true }, [
    text(1, table.name),
    text(3, name),
    ...(base === undefined
      ? []
      : [nested(4, [be32(1, HOOKS[base.hook]), be32(2, base.priority)]), text(7, base.type)]),
  ]);
}

/** Asks for a chain; ENOENT when there is none. */
export function getChain(table: NftTable, name: string): Request {
  return request(table, 'GETCHAIN', { what: `find chain "${name}"` }, [
    text(1, table.name),
    text(3, name),
  ]);
}

/** Deletes a chain with its rules; EBUSY when something still leads to it. */
export function deleteChain(table: NftTable, name: string): Request {
  return request(table, 'DELCHAIN', { what: `delete chain "${name}"` }, [
    text(1, table.name),
    text(3, name),
  ]);
}

/** Deletes all rules of a chain. */
export function flushChain(table: NftTable, chain: string): Request {
  return request(table, 'DELRULE', { what: `flush chain "${chain}"` }, [
    text(1, table.name),
    text(2, chain),
  ]);
}

export interface NftRule {
  readonly chain: string;
  readonly expressions: readonly Expression[];
  readonly comment?: string;
}

/** Puts a rule at the end of a chain. */
export function appendRule(table: NftTable, rule: NftRule): Request {
  const what = `add a rule to chain "${rule.chain}"`;
  return request(table, 'NEWRULE', { what, create: true, append: true }, [
    text(1, table.name),
    text(2, rule.chain),
    nested(4, rule.expressions.flat()),
    ...(rule.comment === undefined ? [] : [commentOf(7, rule.comment)]),
  ]);
}

export function deleteRuleByHandle(table: NftTable, chain: string, handle: bigint): Request {
  return request(table, 'DELRULE', { what: `delete a rule of chain "${chain}"` }, [
    text(1, table.name),
    text(2, chain),
    be64(3, handle),
  ]);
}

/** Asks for the rules of a chain; ENOENT when there is no such chain. */
export function listChainRules(table: NftTable, chain: string): Request {
  return request(table, 'GETRULE', { what: `list chain "${chain}"` }, [
    text(1, table.name),
    text(2, chain),
  ]);
}

export function decodeChainRule(body: Buffer): { handle: bigint; comment: string | undefined } {
  const attributes = new AttributeMap(body.subarray(4));
  return { handle: attributes.be64(3) ?? 0n, comment: decodeComment(attributes.bytes(7)) };
}

export interface NftMap {
  readonly name: string;
  readonly key: readonly NftType[];
  readonly data: readonly NftType[] | 'verdict';
}

/** Adds a map unless it is there. */
export function addMap(table: NftTable, map: NftMap, id: number): Request {
  const [keyType, keySize] = concatenated(map.key);
  const [dataType, dataSize] =
    map.data === 'verdict' ? [DATA_TYPE_VERDICT, 16] : concatenated(map.data);
  return request(table, 'NEWSET', { what: `add map "${map.name}"`, create: true }, [
    text(1, table.name),
    text(2, map.name),
    be32(3, SET_FLAG_MAP),
    be32(4, keyType),
    be32(5, keySize),
    be32(6, dataType),
    be32(7, dataSize),
    be32(10, id),
  ]);
}

/** Adds an element; EEXIST when the key is taken. */
export function addElement(table: NftTable, map: string, element: NftElement): Request {
  const what = `add an element to map "${map}"`;
  return request(
    table,
    'NEWSETELEM',
    { what, create: true, exclusive: true },
    elementList(table, map, element),
  );
}

/** Deletes the element of a key; ENOENT when there is none. */
export function deleteElement(table: NftTable, map: string, key: Uint8Array): Request {
  const what = `delete an element of map "${map}"`;
  return request(table, 'DELSETELEM', { what }, elementList(table, map, { key }));
}

/** Asks for the element of a key; ENOENT when there is none. */
export function getElement(table: NftTable, map: string, key: Uint8Array): Request {
  const what = `find an element of map "${map}"`;
  return request(table, 'GETSETELEM', { what }, elementList(table, map, { key }));
}

/** Asks for all elements; ENOENT when there is no such map. */
export function listElements(table: NftTable, map: string): Request {
  return request(table, 'GETSETELEM', { what: `list map "${map}"` }, [
    text(1, table.name),
    text(2, map),
  ]);
}

/** An element as it is listed. */
export interface ListedElement {
  readonly key: Buffer;
  /** The value, or the chain that its verdict leads to. */
  readonly value: Buffer | undefined;
  readonly chain: string | undefined;
  readonly comment: string | undefined;
}

/** The elements in one message. */
export function decodeElements(body: Buffer): ListedElement[] {
  const list = new AttributeMap(body.subarray(4)).bytes(3) ?? Buffer.alloc(0);
  return listAttributes(list).map(({ value }) => {
    const element = new AttributeMap(value);
    const data = element.nested(2);
    const found = data?.bytes(1);
    return {
      key: Buffer.from(element.nested(1)?.bytes(1) ?? []),
      value: found === undefined ? undefined : Buffer.from(found),
      chain: data?.nested(2)?.text(2),
      comment: decodeComment(element.bytes(6)),
    };
  });
}

/** Asks for the number of the present generation of the rule set. */
export function getGeneration(): Request {
  return {
    action: 'read the generation of the nftables rule set',
    type: SUBSYSTEM | MESSAGE.GETGEN,
    flags: 0,
    body: Buffer.alloc(4),
  };
}

export function decodeGeneration(body: Buffer): number {
  return new AttributeMap(body.subarray(4)).be32(1) ?? 0;
}

function elementList(table: NftTable, map: string, element: NftElement): Attribute[] {
  const { data } = element;
  return [
    text(1, table.name),
    text(2, map),
    nested(3, [
      nested(LIST_ELEMENT, [
        dataValue(1, element.key),
        ...(data === undefined
          ? []
          : [data instanceof Uint8Array ? dataValue(2, data) : dataVerdict(2, data)]),
        ...(element.comment === undefined ? [] : [commentOf(6, element.comment)]),
      ]),
    ]),
  ];
}

/** nft(8) concatenates types by 6 bits each; each part is padded to 4 bytes. */
function concatenated(types: readonly NftType[]): [type: number, size: number] {
  if (types.length === 1 && types[0] !== undefined) return [...TYPES[types[0]]];
  return types.reduce<[number, number]>(
    ([type, size], name) => [
      (type << TYPE_BITS) | TYPES[name][0],
      size + ((TYPES[name][1] + 3) & ~3),
    ],
    [0, 0],
  );
}

/** nft(8) keeps comments as user data: a byte 0, the length, the text with NUL. */
function commentOf(type: number, comment: string): Attribute {
  const value = Buffer.from(`${comment.slice(0, COMMENT_LIMIT)}\0`);
  return bytes(type, Buffer.concat([Buffer.of(0, value.length), value]));
}

function decodeComment(data: Buffer | undefined): string | undefined {
  if (data === undefined || data.length < 3 || data[0] !== 0) return undefined;
  return data.toString('utf8', 2, 2 + (data[1] ?? 1) - 1);
}

interface Options {
  readonly what: string;
  readonly create?: boolean;
  readonly exclusive?: boolean;
  readonly append?: boolean;
}

function request(
  table: NftTable,
  message: keyof typeof MESSAGE,
  options: Options,
  attributes: Attribute[],
): Request {
  return {
    action: `${options.what} in nftables`,
    type: SUBSYSTEM | MESSAGE[message],
    flags:
      (options.create ? NLM_F.CREATE : 0) |
      (options.exclusive ? NLM_F.EXCL : 0) |
      (options.append ? NLM_F.APPEND : 0),
    body: Buffer.concat([Buffer.of(table.family, 0, 0, 0), encodeAttributes(attributes)]),
  };
}
