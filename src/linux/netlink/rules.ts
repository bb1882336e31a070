import { type Cidr, formatCidr } from '../../base/index.ts';
import { AF, familyOf } from './addresses.ts';
import { AttributeMap, bytes, encodeAttributes, u32 } from './attributes.ts';
import { NLM_F, type Request } from './messages.ts';

const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;
const FRA_SRC = 2;
const FRA_PRIORITY = 6;
const FRA_TABLE = 15;
const FR_ACT_TO_TBL = 1;

/** A policy routing rule: packets from `source` look up `table` (ip-rule(8)). */
export interface Rule {
  readonly source: Cidr;
  readonly table: number;
  readonly priority?: number | undefined;
}

export function addRule(rule: Rule): Request {
  return {
    action: `add rule from ${formatCidr(rule.source)} lookup ${rule.table}`,
    type: RTM_NEWRULE,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: ruleBody(rule),
  };
}

export function deleteRule(rule: Rule): Request {
  return {
    action: `delete rule from ${formatCidr(rule.source)} lookup ${rule.table}`,
    type: RTM_DELRULE,
    flags: 0,
    body: ruleBody(rule),
  };
}

export function listRules(family: number): Request {
  const body = Buffer.alloc(12);
  body.writeUInt8(family);
  return { action: 'list rules', type: RTM_GETRULE, flags: 0, body };
}

/** Answers undefined for a rule that does not look up a table. */
export function decodeRule(body: Buffer): Rule | undefined {
  if (body.readUInt8(7) !== FR_ACT_TO_TBL) return undefined;
  const attributes = new AttributeMap(body.subarray(12));
  const size = body.readUInt8() === AF.INET ? 4 : 16;
  return {
    source: {
      ip: Buffer.from(attributes.bytes(FRA_SRC) ?? Buffer.alloc(size)),
      prefix: body.readUInt8(2),
    },
    table: attributes.u32(FRA_TABLE) ?? body.readUInt8(4),
    priority: attributes.u32(FRA_PRIORITY),
  };
}

/** struct fib_rule_hdr and its attributes. */
function ruleBody(rule: Rule): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt8(familyOf(rule.source.ip), 0);
  header.writeUInt8(rule.source.prefix, 2);
  header.writeUInt8(rule.table < 256 ? rule.table : 0, 4);
  header.writeUInt8(FR_ACT_TO_TBL, 7);
  return Buffer.concat([
    header,
    encodeAttributes([
      ...(rule.source.prefix === 0 ? [] : [bytes(FRA_SRC, rule.source.ip)]),
      ...(rule.priority === undefined ? [] : [u32(FRA_PRIORITY, rule.priority)]),
      u32(FRA_TABLE, rule.table),
    ]),
  ]);
}
