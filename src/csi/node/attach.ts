import { KeelsonError, withTimeout } from '../../base/index.ts';
import {
  ANNOTATION,
  annotationOf,
  attachmentFor,
  attachmentName,
  isDeleting,
  lastingError,
} from '../controllers/index.ts';
import type { Attachment, Ref, Volume } from '../objects/index.ts';
import type { Driver } from '../registration/index.ts';
import { type NodeParts, policyOf } from './node-parts.ts';
import { stageName } from './paths.ts';
import { untilChanged } from './until-changed.ts';

/**
 * Has a volume attached to this node and answers what the driver says about that, for stage
 * and publish. Nothing is done for drivers that attach nothing. Fails when the attacher
 * does for good, or not within its time.
 */
export async function attachVolume(
  parts: NodeParts,
  volume: Volume,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const { store, drivers } = parts;
  const { driver: name } = volume.spec.csi;
  const driver = drivers.get(name);
  const attaches = driver.can('PUBLISH_UNPUBLISH_VOLUME');
  if (!attaches || !policyOf(parts, name).attachRequired) return {};
  const nodeName = parts.node().name;
  const ref: Ref<'VolumeAttachment'> = {
    kind: 'VolumeAttachment',
    name: attachmentName(volume, nodeName),
  };
  const deadline = withTimeout(signal, parts.attachTimeout);
  const begun = store.find(ref)?.status?.attachError?.time;
  for (;;) {
    const attachment = store.find(ref);
    if (attachment === undefined) {
      await store.create<'VolumeAttachment'>(attachmentFor(volume, nodeName)).catch(ifThere);
    } else if (isUsable(parts, attachment, driver, volume)) {
      return attachment.status?.attachmentMetadata ?? {};
    } else if (hasOldNodeId(attachment, driver)) {
      await store.delete(ref);
    } else {
      refuse(attachment, volume, begun);
    }
    await waitForChange(parts, ref, attachment, { deadline, signal, volume });
  }
}

function ifThere(error: unknown): void {
  if (!(error instanceof KeelsonError) || error.code !== 'ALREADY_EXISTS') throw error;
}

/** Attached, and under the id that the driver has for this node now, or used that way already. */
function isUsable(
  { store }: NodeParts,
  attachment: Attachment,
  driver: Driver,
  volume: Volume,
): boolean {
  if (isDeleting(attachment) || attachment.status?.attached !== true) return false;
  if (!hasOldNodeId(attachment, driver)) return true;
  const { driver: name, volumeHandle } = volume.spec.csi;
  if (store.find({ kind: 'VolumeStage', name: stageName(name, volumeHandle) }) === undefined) {
    return false;
  }
  throw new KeelsonError('FAILED_PRECONDITION', `Cannot use volume "${volume.metadata.name}"`, {
    reason: `driver "${name}" calls this node otherwise than when the volume was attached`,
    hint: 'remove the pods that use it: it is attached anew then',
  });
}

function hasOldNodeId(attachment: Attachment, driver: Driver): boolean {
  const id = annotationOf(attachment, ANNOTATION.nodeId);
  return id !== undefined && id !== driver.node.nodeId;
}

function refuse(attachment: Attachment, volume: Volume, before: string | null | undefined): void {
  const reason = isDeleting(attachment) ? undefined : lastingError(attachment);
  // An error from an earlier attempt: this one has its own outcome.
  if (reason === undefined || attachment.status?.attachError?.time === before) return;
  throw new KeelsonError('FAILED_PRECONDITION', `Cannot attach "${volume.metadata.name}"`, {
    reason,
  });
}

async function waitForChange(
  { store, attachTimeout }: NodeParts,
  ref: Ref<'VolumeAttachment'>,
  seen: Attachment | undefined,
  { deadline, signal, volume }: { deadline: AbortSignal; signal: AbortSignal; volume: Volume },
): Promise<void> {
  try {
    await untilChanged(store, ref, seen, deadline);
  } catch (error) {
    if (signal.aborted || !deadline.aborted) throw error;
    const last = store.find(ref)?.status?.attachError?.message;
    throw new KeelsonError('DEADLINE_EXCEEDED', `Cannot attach "${volume.metadata.name}"`, {
      reason: `it is not attached after ${attachTimeout / 1000} s${last === undefined ? '' : `; ${last}`}`,
    });
  }
}
