import { during, KeelsonError, type Logger, Steps } from '../../base/index.ts';
import type { CniResult, NetworkList } from '../spec/index.ts';
import { checkAttachment } from './attachment.ts';
import type { AttachmentRecords, PlannedAttachment } from './attachment-records.ts';
import type { CniRuntime } from './cni-runtime.ts';
import type { GarbageCollector } from './garbage-collector.ts';
import { attachmentOf, type PodAttachment } from './pod-attachment.ts';

/** What attaching and detaching works with. */
export interface Attaching {
  runtime: CniRuntime;
  records: AttachmentRecords;
  garbage: GarbageCollector;
  logger: Logger;
}

/** How a pod is to be attached: `eth0` on the first network, `eth1` on the second. Throws if a plugin could not be called so. */
export function planAttachments(
  pod: PodAttachment,
  networks: readonly NetworkList[],
): PlannedAttachment[] {
  return networks.map((list, index) => {
    const attachment = attachmentOf(pod, `eth${index}`);
    checkAttachment(list.name, attachment);
    return { list, attachment };
  });
}

/** ADDs all networks in order. When one fails, the record and what was added are undone in reverse. */
export async function attachPod(
  { runtime, records, garbage, logger }: Attaching,
  containerId: string,
  plan: readonly PlannedAttachment[],
  signal: AbortSignal,
): Promise<CniResult[]> {
  for (const { list } of plan) await requirePlugins(runtime, list);
  let leftover = false;
  const forget = async () => {
    if (leftover) return garbage.add(containerId);
    await records.remove(containerId);
    garbage.forget(containerId);
  };
  await using steps = new Steps('attach-pod', logger);
  garbage.keep(containerId);
  await steps.run('record networks', () => records.write({ containerId, networks: plan }), forget);
  const results: CniResult[] = [];
  for (const { list, attachment } of plan) {
    const add = () => runtime.addNetworkList(list, attachment, signal);
    const undo = async (deadline: AbortSignal) => {
      try {
        await runtime.delNetworkList(list, attachment, deadline);
      } catch (error) {
        leftover = true;
        throw error;
      }
    };
    try {
      results.push(await steps.run(`add ${attachment.ifname}`, add, undo));
    } catch (error) {
      throw during(`Cannot add "${attachment.ifname}" on network "${list.name}"`, error);
    }
  }
  steps.commit();
  return results;
}

/** One that is not there would be missed only after others did their part, and again in DEL. */
async function requirePlugins(runtime: CniRuntime, list: NetworkList): Promise<void> {
  const missing = await runtime.findMissingPlugin(list);
  if (missing === undefined) return;
  throw new KeelsonError('FAILED_PRECONDITION', `Cannot use network "${list.name}"`, {
    reason: `CNI plugin "${missing}" is not installed`,
    hint: 'install the plugin, or name its directory',
  });
}
