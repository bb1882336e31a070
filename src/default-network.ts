import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { readTextIfExists, writeFileAtomic } from './base/index.ts';
import { bridgeNetwork, DEFAULT_BRIDGE } from './cni/index.ts';

/**
 * The embedded network: with the pod CIDRs that a kubelet gave last, else with its own
 * addresses. Kubelets tell them once, so they are kept below `root`.
 */
export async function loadDefaultNetwork(root: string): Promise<object> {
  const text = (await readTextIfExists(fileIn(root))) ?? '';
  const cidrs = text.split('\n').filter(Boolean);
  return cidrs.length === 0 ? bridgeNetwork(DEFAULT_BRIDGE) : networkOf(cidrs);
}

/** Keeps pod CIDRs, and answers the network with them. */
export async function changeDefaultNetwork(
  root: string,
  cidrs: readonly string[],
): Promise<object> {
  const network = networkOf(cidrs);
  await writeFileAtomic(fileIn(root), cidrs.map((cidr) => `${cidr}\n`).join(''), { durable: true });
  return network;
}

/** On a bridge of its own: pods of the former addresses keep theirs, and their gateway. */
function networkOf(subnets: readonly string[]): object {
  const tag = createHash('sha256').update(subnets.join()).digest('hex').slice(0, 7);
  return bridgeNetwork({ ...DEFAULT_BRIDGE, bridge: `keelson-${tag}`, subnets });
}

function fileIn(root: string): string {
  return join(root, 'pod-cidrs');
}
