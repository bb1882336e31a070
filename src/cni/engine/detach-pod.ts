import { faultPoint } from '../../base/index.ts';
import type { Attaching } from './attach-pod.ts';
import type { PlannedAttachment } from './attachment-records.ts';
import { listOf } from './cni-runtime.ts';
import { Failures } from './failures.ts';
import { liveNamespace } from './network-namespace.ts';

/**
 * What a container is attached to, in the order of ADD and as it was configured then.
 * `netns` is where the namespace is thought to be; left out, where it was.
 */
export async function attachmentsOf(
  { runtime, records }: Pick<Attaching, 'runtime' | 'records'>,
  containerId: string,
  netns?: string,
): Promise<PlannedAttachment[]> {
  const planned =
    (await records.read(containerId))?.networks ??
    // The record was lost, but libcni's cache knows the container.
    (await runtime.cache.list(containerId)).flatMap((entry) => {
      const list = listOf(entry);
      return list === undefined ? [] : [{ list, attachment: entry }];
    });
  return Promise.all(
    planned.map(async ({ list, attachment }) => ({
      list,
      attachment: { ...attachment, netns: await liveNamespace(netns ?? attachment.netns) },
    })),
  );
}

/**
 * DELs all networks of a container in reverse order. All are tried; the record keeps
 * those that failed, and the errors come together.
 */
export async function detachPod(
  context: Attaching,
  containerId: string,
  netns: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { runtime, records, garbage } = context;
  const attachments = await attachmentsOf(context, containerId, netns);
  const left: PlannedAttachment[] = [];
  const failures = new Failures();
  for (const planned of attachments.toReversed()) {
    const { list, attachment } = planned;
    const done = await failures.gather(() => runtime.delNetworkList(list, attachment, signal));
    if (!done) left.unshift(planned);
    faultPoint(`detach-pod/delete ${attachment.ifname}`);
  }
  if (left.length > 0 && left.length < attachments.length) {
    await records.write({ containerId, networks: left });
  }
  failures.throwIfAny(`Cannot detach container "${containerId}"`);
  await records.remove(containerId);
  garbage.forget(containerId);
}
