import { type Cidr, formatCidr } from '../../../base/index.ts';
import type { PluginCall } from '../../spec/index.ts';
import {
  editTable,
  familyOf,
  type IpFamily,
  leadsTo,
  quoteComment,
  type SavedTable,
  saveTable,
} from '../iptables.ts';
import { checkFailed } from '../plugin-definition.ts';

/**
 * Rules of the filter table that let containers' traffic be forwarded, with the chains of
 * the reference plugin: FORWARD leads to CNI-FORWARD, which first asks the
 * administrator's chain.
 */
const FORWARD = 'CNI-FORWARD';
const STAGE_1 = 'CNI-ISOLATION-STAGE-1';
const STAGE_2 = 'CNI-ISOLATION-STAGE-2';

/** Who may send to the containers of a bridge: all, or none but the bridge's own, or not even those. */
export type IngressPolicy = 'open' | 'same-bridge' | 'isolated';

export interface FilterPlan {
  readonly ips: readonly Cidr[];
  readonly adminChain: string;
  readonly policy: IngressPolicy;
  /** The bridge that the policy is about. */
  readonly bridge: string | undefined;
}

export async function addFilterRules(plan: FilterPlan, call: PluginCall): Promise<void> {
  for (const family of familiesOf(plan.ips)) {
    await editTable(family, 'filter', (now) => planAdd(now, family, plan), call.signal);
  }
}

/** The lines of iptables-restore that ADD needs, given the table as it is. */
export function planAdd(present: SavedTable, family: IpFamily, plan: FilterPlan): string[] {
  const { adminChain } = plan;
  const has = (chain: string, text: string) =>
    present.rules.some((rule) => rule.chain === chain && rule.text === text);
  const jump = (from: string, to: string) =>
    present.rules.some((rule) => rule.chain === from && leadsTo(rule, to));
  const comment = (text: string) => `-m comment --comment ${quoteComment(text)}`;
  return [
    ...[FORWARD, adminChain]
      .filter((chain) => !present.chains.has(chain))
      .map((chain) => `:${chain} - [0:0]`),
    ...(jump('FORWARD', FORWARD)
      ? []
      : [`-I FORWARD 1 ${comment('CNI firewall plugin rules')} -j ${FORWARD}`]),
    ...(jump(FORWARD, adminChain)
      ? []
      : [`-I ${FORWARD} 1 ${comment('CNI firewall plugin admin overrides')} -j ${adminChain}`]),
    ...containerRules(plan.ips, family)
      .filter((rule) => !has(FORWARD, rule))
      .map((rule) => `-A ${FORWARD} ${rule}`),
    ...planIsolation(present, plan),
  ];
}

function containerRules(ips: readonly Cidr[], family: IpFamily): string[] {
  return ips
    .filter(({ ip }) => familyOf(ip) === family)
    .map(({ ip }) => formatCidr({ ip, prefix: ip.length * 8 }))
    .flatMap((ip) => [
      `-d ${ip} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
      `-s ${ip} -j ACCEPT`,
    ]);
}

/** What leaves a bridge passes stage 1; what then enters a bridge is dropped in stage 2. */
function planIsolation(present: SavedTable, { policy, bridge }: FilterPlan): string[] {
  if (policy === 'open' || bridge === undefined) return [];
  const comment = `-m comment --comment ${quoteComment(`CNI firewall plugin rules (ingressPolicy: ${policy})`)}`;
  const missing = (chain: string, match: string, target: string) =>
    !present.rules.some(
      (rule) => rule.chain === chain && rule.text.startsWith(match) && leadsTo(rule, target),
    );
  const first = (chain: string, match: string, target: string) =>
    missing(chain, match, target) ? [`-I ${chain} 1 ${match}${comment} -j ${target}`] : [];
  const last = (chain: string) =>
    missing(chain, '', 'RETURN') ? [`-A ${chain} ${comment} -j RETURN`] : [];
  return [
    ...[STAGE_1, STAGE_2]
      .filter((chain) => !present.chains.has(chain))
      .map((chain) => `:${chain} - [0:0]`),
    ...first('FORWARD', '', STAGE_1),
    ...(policy === 'isolated' ? first(STAGE_1, `-i ${bridge} -o ${bridge} `, 'DROP') : []),
    ...first(STAGE_1, `-i ${bridge} ! -o ${bridge} `, STAGE_2),
    ...last(STAGE_1),
    ...first(STAGE_2, `-o ${bridge} `, 'DROP'),
    ...last(STAGE_2),
  ];
}

/** Removes the rules of addresses. Those of bridges stay: other containers need them. */
export async function deleteFilterRules(ips: readonly Cidr[], call: PluginCall): Promise<void> {
  for (const family of familiesOf(ips)) {
    const rules = containerRules(ips, family);
    const removeOwn = (present: SavedTable) =>
      present.rules
        .filter(({ chain, text }) => chain === FORWARD && rules.includes(text))
        .map(({ text }) => `-D ${FORWARD} ${text}`);
    await editTable(family, 'filter', removeOwn, call.signal);
  }
}

export async function checkFilterRules(plan: FilterPlan, call: PluginCall): Promise<void> {
  for (const family of familiesOf(plan.ips)) {
    const present = await saveTable(family, 'filter', call.signal);
    const [missing] = planAdd(present, family, plan);
    if (missing !== undefined) throw checkFailed(`firewall rule missing: ${missing}`);
  }
}

function familiesOf(ips: readonly Cidr[]): IpFamily[] {
  return [...new Set(ips.map(({ ip }) => familyOf(ip)))];
}
