import {
  addChain,
  addTable,
  appendRule,
  decide,
  decodeChainRule,
  deleteChain,
  deleteRuleByHandle,
  flushChain,
  listChainRules,
  matchInputInterface,
  matchSourceMac,
  type NetlinkRequest,
  type NetworkNamespace,
  NFPROTO,
  type NftTable,
} from '../../../linux/index.ts';
import type { PluginCall } from '../../spec/index.ts';

/**
 * Drops frames that a container sends under another hardware address than its own, with
 * the table, chains and comments of the reference plugin:
 *
 *     table bridge nat {
 *       chain PREROUTING { type filter hook prerouting priority -300; iifname "veth…" jump cni-br-iface-ID }
 *       chain cni-br-iface-ID { jump cni-br-iface-ID-mac }
 *       chain cni-br-iface-ID-mac { ether saddr MAC return; drop }
 *     }
 */
const TABLE: NftTable = { family: NFPROTO.BRIDGE, name: 'nat' };
const HOOK_CHAIN = 'PREROUTING';
const PRIORITY = -300;

export async function addSpoofCheck(
  host: NetworkNamespace,
  call: PluginCall,
  veth: { name: string; mac: Uint8Array },
): Promise<void> {
  const { chain, macChain, comment } = namesOf(call);
  await host.netfilter.commit([
    addTable(TABLE),
    addChain(TABLE, HOOK_CHAIN, { type: 'filter', hook: 'prerouting', priority: PRIORITY }),
    addChain(TABLE, chain),
    addChain(TABLE, macChain),
    flushChain(TABLE, chain),
    flushChain(TABLE, macChain),
    appendRule(TABLE, {
      chain: HOOK_CHAIN,
      expressions: [matchInputInterface(veth.name), decide({ code: 'jump', chain })],
      comment,
    }),
    appendRule(TABLE, { chain, expressions: [decide({ code: 'jump', chain: macChain })], comment }),
    appendRule(TABLE, {
      chain: macChain,
      expressions: [matchSourceMac(veth.mac), decide({ code: 'return' })],
      comment,
    }),
    appendRule(TABLE, { chain: macChain, expressions: [decide({ code: 'drop' })], comment }),
  ]);
}

/** Removes what `addSpoofCheck` made; the table and its hook stay for others. */
export async function removeSpoofCheck(host: NetworkNamespace, call: PluginCall): Promise<void> {
  const { chain, macChain, comment } = namesOf(call);
  const rules = await rulesOf(host, HOOK_CHAIN);
  const chains = [chain, macChain];
  const present: string[] = [];
  for (const name of chains) if ((await rulesOf(host, name)).length > 0) present.push(name);
  const requests: NetlinkRequest[] = [
    ...rules
      .filter((rule) => rule.comment === comment)
      .map((rule) => deleteRuleByHandle(TABLE, HOOK_CHAIN, rule.handle)),
    ...present.map((name) => deleteChain(TABLE, name)),
  ];
  if (requests.length > 0) await host.netfilter.commit(requests);
}

function rulesOf(host: NetworkNamespace, chain: string) {
  const request = { ...listChainRules(TABLE, chain), tolerate: ['ENOENT'] };
  return host.netfilter.dump(request, ({ body }) => decodeChainRule(body));
}

function namesOf(call: PluginCall) {
  const id = `${call.containerId}-${call.ifname}`;
  const chain = `cni-br-iface-${id}`;
  return { chain, macChain: `${chain}-mac`, comment: `macspoofchk-${id}` };
}
