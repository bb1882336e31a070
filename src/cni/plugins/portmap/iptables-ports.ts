import { type Cidr, formatCidr, formatIp, networkOf } from '../../../base/index.ts';
import type { PluginCall } from '../../spec/index.ts';
import {
  collectChains,
  containerChain,
  containerComment,
  editTable,
  familyOf,
  type IpFamily,
  leadsTo,
  quoteComment,
  removeChains,
  type SavedTable,
  saveTable,
} from '../iptables.ts';
import { checkFailed } from '../plugin-definition.ts';
import {
  mappingsFor,
  type PortMapping,
  type PortmapConfig,
  type Protocol,
} from './configuration.ts';

/**
 * Host ports by iptables, with the chains and rules of the reference plugin: one chain for
 * each container, which the chain of all host ports leads to. The most recent container
 * that claims a port has it.
 */
const DNAT = 'CNI-HOSTPORT-DNAT';
const SETMARK = 'CNI-HOSTPORT-SETMARK';
const MASQ = 'CNI-HOSTPORT-MASQ';
/** Ports that one multiport match takes. */
const PORTS_PER_RULE = 15;

export async function mapPortsByIptables(
  target: Cidr,
  config: PortmapConfig,
  call: PluginCall,
): Promise<void> {
  const mappings = mappingsFor(config, target.ip);
  if (mappings.length === 0) return;
  const family = familyOf(target.ip);
  const plan = (present: SavedTable) => planPorts({ present, target, mappings, config, call });
  await editTable(family, 'nat', plan, call.signal);
}

interface PortPlan {
  readonly present: SavedTable;
  readonly target: Cidr;
  readonly mappings: readonly PortMapping[];
  readonly config: PortmapConfig;
  readonly call: PluginCall;
}

/** The lines of iptables-restore that ADD needs, given the table as it is. */
export function planPorts({ present, target, mappings, config, call }: PortPlan): string[] {
  const family = familyOf(target.ip);
  const chain = chainOf(call);
  const old = present.rules.filter((rule) => leadsTo(rule, chain));
  const missing = (from: string, to: string) =>
    !present.rules.some((rule) => rule.chain === from && leadsTo(rule, to));
  return [
    ...(config.snat && config.externalSetMarkChain === undefined ? planMarks(present, config) : []),
    ...(present.chains.has(DNAT) ? [] : [`:${DNAT} - [0:0]`]),
    ...['PREROUTING', 'OUTPUT']
      .filter((hook) => missing(hook, DNAT))
      .map((hook) => `-A ${hook} -m addrtype --dst-type LOCAL -j ${DNAT}`),
    `:${chain} - [0:0]`,
    ...old.map((rule) => `-D ${rule.chain} ${rule.text}`),
    // As the reference does it, also for mappings of the other family: those have no rule behind.
    ...entryRules(config.mappings, config.conditions[family], call).map(
      (rule, i) => `-I ${DNAT} ${i + 1} ${rule}`,
    ),
    ...mappings
      .flatMap((mapping) => portRules(mapping, target, config))
      .map((rule) => `-A ${chain} ${rule}`),
  ];
}

/** The chains that mark what is to be masqueraded, and masquerade what is marked. */
function planMarks(present: SavedTable, config: PortmapConfig): string[] {
  const value = `0x${(2 ** config.markMasqBit).toString(16)}`;
  const mark = `${value}/${value}`;
  const comment = (text: string) => `-m comment --comment ${quoteComment(text)}`;
  const inPlace = present.rules.some((rule) => rule.chain === 'POSTROUTING' && leadsTo(rule, MASQ));
  return [
    `:${SETMARK} - [0:0]`,
    `-A ${SETMARK} ${comment('CNI portfwd masquerade mark')} -j MARK --set-xmark ${mark}`,
    `:${MASQ} - [0:0]`,
    `-A ${MASQ} -m mark --mark ${mark} -j MASQUERADE`,
    // First, because masquerading of the main plugins would else decide.
    ...(inPlace
      ? []
      : [`-I POSTROUTING 1 ${comment('CNI portfwd requiring masquerade')} -j ${MASQ}`]),
  ];
}

/** Rules that lead from all host ports to the container's chain, by protocol. */
function entryRules(
  mappings: readonly PortMapping[],
  conditions: readonly string[],
  call: PluginCall,
): string[] {
  const comment = containerComment('dnat ', call);
  const protocols = [...new Set(mappings.map(({ protocol }) => protocol))].sort();
  return protocols.flatMap((protocol) =>
    portLists(mappings, protocol).map((ports) =>
      [
        `-p ${protocol} -m comment --comment ${comment}`,
        `-m multiport --destination-ports ${ports}`,
        ...conditions,
        `-j ${chainOf(call)}`,
      ].join(' '),
    ),
  );
}

function portLists(mappings: readonly PortMapping[], protocol: Protocol): string[] {
  const ports = mappings.filter((one) => one.protocol === protocol).map((one) => one.hostPort);
  const lists: string[] = [];
  for (let at = 0; at < ports.length; at += PORTS_PER_RULE) {
    lists.push(ports.slice(at, at + PORTS_PER_RULE).join(','));
  }
  return lists;
}

/** Marks before the DNAT, which ends the chain. */
function portRules(mapping: PortMapping, target: Cidr, config: PortmapConfig): string[] {
  const v4 = target.ip.length === 4;
  const to = mapping.hostIp === undefined ? '' : ` -d ${formatIp(mapping.hostIp)}`;
  const match = `-p ${mapping.protocol} -m ${mapping.protocol} --dport ${mapping.hostPort}${to}`;
  const setMark = config.externalSetMarkChain ?? SETMARK;
  const everyone = v4 ? '0.0.0.0/0' : '::/0';
  const source = config.masqAll ? everyone : formatCidr(networkOf(target));
  const address = v4 ? formatIp(target.ip) : `[${formatIp(target.ip)}]`;
  return [
    ...(config.snat ? [`${match} -s ${source} -j ${setMark}`] : []),
    ...(config.snat && v4 && !config.masqAll ? [`${match} -s 127.0.0.1 -j ${setMark}`] : []),
    `${match} -j DNAT --to-destination ${address}:${mapping.containerPort}`,
  ];
}

/** Removes what ADD made, in the families given. */
export async function unmapPortsByIptables(
  families: readonly IpFamily[],
  call: PluginCall,
): Promise<void> {
  for (const family of families) {
    await editTable(family, 'nat', (now) => removeChains(now, [chainOf(call)]), call.signal);
  }
}

export async function collectPortsByIptables(call: PluginCall): Promise<void> {
  await collectChains('dnat ', call);
}

export async function checkPortsByIptables(
  target: Cidr,
  config: PortmapConfig,
  call: PluginCall,
): Promise<void> {
  const mappings = mappingsFor(config, target.ip);
  if (mappings.length === 0) return;
  const { rules } = await saveTable(familyOf(target.ip), 'nat', call.signal);
  const entered = rules.some((rule) => rule.chain === DNAT && leadsTo(rule, chainOf(call)));
  const forwards = rules.filter(
    (rule) => rule.chain === chainOf(call) && / -j DNAT /.test(rule.text),
  );
  if (!entered || forwards.length < mappings.length) {
    throw checkFailed(`host ports of ${formatIp(target.ip)} are missing`);
  }
}

function chainOf(call: PluginCall): string {
  return containerChain('DN-', call.config.name, call.containerId);
}
