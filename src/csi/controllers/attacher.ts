import { status as grpcStatus } from '@grpc/grpc-js';
import { codeOf, messageOf } from '../../base/index.ts';
import {
  ControllerPublishVolumeRequest,
  ControllerUnpublishVolumeRequest,
} from '../../gen/csi/v1/csi.ts';
import { type Attachment, type Ref, refOf, type Stored, type Volume } from '../objects/index.ts';
import { csiErrorOf } from '../protocol/index.ts';
import type { Driver } from '../registration/index.ts';
import { capabilityOf } from '../requests/index.ts';
import { ANNOTATION, FINALIZER } from './annotations.ts';
import type { DriverControllerParts } from './controller.ts';
import { DriverController } from './driver-controller.ts';
import {
  annotationOf,
  hasFinalizer,
  isDeleting,
  withAnnotations,
  withFinalizer,
  withoutFinalizer,
} from './editing.ts';

type VaRef = Ref<'VolumeAttachment'>;

export type AttachPlan = 'nothing' | 'intend' | 'attach' | 'detach';

/** The next step of an attachment. Pure. */
export function planAttachment(attachment: Attachment): AttachPlan {
  if (isDeleting(attachment)) {
    return hasFinalizer(attachment, FINALIZER.attached) ? 'detach' : 'nothing';
  }
  if (attachment.status?.attached === true) return 'nothing';
  const intended =
    hasFinalizer(attachment, FINALIZER.attached) &&
    annotationOf(attachment, ANNOTATION.nodeId) !== undefined;
  return intended ? 'attach' : 'intend';
}

/** Attaches and detaches volumes as VolumeAttachments say (external-attacher's job). */
export class Attacher extends DriverController {
  constructor(parts: DriverControllerParts) {
    super(parts, {
      name: 'attacher',
      failure: 'FailedAttachVolume',
      concerns: ({ object }) => {
        if (object.kind === 'VolumeAttachment') return [refOf(object as Stored)];
        return [];
      },
      all: () => parts.store.list('VolumeAttachment'),
      reconcile: (ref, signal) => reconcile(parts, ref as VaRef, signal),
    });
  }
}

async function reconcile(parts: DriverControllerParts, ref: VaRef, signal: AbortSignal) {
  const { store, drivers } = parts;
  const attachment = store.find(ref);
  if (attachment === undefined) return;
  const plan = planAttachment(attachment);
  if (plan === 'nothing') return;
  const volume = store.get({
    kind: 'PersistentVolume',
    name: attachment.spec.source.persistentVolumeName,
  });
  using _lock = await drivers.lock(volume.spec.csi.driver, volume.spec.csi.volumeHandle, signal);
  const driver = drivers.get(attachment.spec.attacher);
  if (plan === 'intend') {
    // The id it has now: whoever detaches later must use the same.
    const noted = { [ANNOTATION.nodeId]: driver.node.nodeId };
    await store.changeIfThere(ref, (current) =>
      isDeleting(current)
        ? current
        : withFinalizer(withAnnotations(current, noted), FINALIZER.attached),
    );
  } else if (plan === 'attach') {
    await noteFailure(
      parts,
      ref,
      'attachError',
      attach(parts, { attachment, volume, driver, signal }),
    );
  } else {
    await noteFailure(
      parts,
      ref,
      'detachError',
      detach(parts, { attachment, volume, driver, signal }),
    );
  }
}

interface Attaching {
  attachment: Attachment;
  volume: Volume;
  driver: Driver;
  signal: AbortSignal;
}

async function attach(parts: DriverControllerParts, work: Attaching): Promise<void> {
  const { attachment, volume, driver, signal } = work;
  const attachmentMetadata = driver.can('PUBLISH_UNPUBLISH_VOLUME')
    ? await publish(parts, work, signal)
    : {};
  await parts.store.changeIfThere(refOf(attachment) as VaRef, (current) => ({
    ...current,
    status: { attached: true, attachmentMetadata },
  }));
  const message = `volume "${volume.metadata.name}" is attached`;
  parts.events.add(refOf(volume as Stored), 'Normal', 'SuccessfulAttachVolume', message);
}

async function publish(
  { secrets }: DriverControllerParts,
  { attachment, volume, driver }: Attaching,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const { csi, accessModes, volumeMode, mountOptions } = volume.spec;
  const [accessMode = 'ReadWriteOnce'] = accessModes;
  // A driver that cannot attach read-only is told so when the volume is published to a pod.
  const readonly = csi.readOnly === true && driver.can('PUBLISH_READONLY');
  const request = ControllerPublishVolumeRequest.fromPartial({
    volumeId: csi.volumeHandle,
    nodeId: annotationOf(attachment, ANNOTATION.nodeId) ?? '',
    volumeCapability: capabilityOf(
      { volumeMode, accessMode, fsType: csi.fsType, mountOptions },
      { singleNodeModes: driver.can('SINGLE_NODE_MULTI_WRITER') },
    ),
    readonly,
    secrets: await secrets.read(csi.controllerPublishSecretRef),
    volumeContext: csi.volumeAttributes ?? {},
  });
  const { publishContext } = await driver.client.controller.controllerPublishVolume(request, {
    signal,
  });
  return publishContext;
}

async function detach(parts: DriverControllerParts, work: Attaching): Promise<void> {
  const { attachment, volume, driver, signal } = work;
  if (driver.can('PUBLISH_UNPUBLISH_VOLUME')) {
    const { csi } = volume.spec;
    const request = ControllerUnpublishVolumeRequest.fromPartial({
      volumeId: csi.volumeHandle,
      nodeId: annotationOf(attachment, ANNOTATION.nodeId) ?? '',
      secrets: await parts.secrets.read(csi.controllerPublishSecretRef),
    });
    await driver.client.controller.controllerUnpublishVolume(request, { signal });
  }
  await parts.store.changeIfThere(refOf(attachment) as VaRef, (current) =>
    withoutFinalizer(current, FINALIZER.attached),
  );
}

/** Writes why it failed, for whoever waits; once for each message. */
async function noteFailure(
  { store }: DriverControllerParts,
  ref: VaRef,
  field: 'attachError' | 'detachError',
  work: Promise<void>,
): Promise<void> {
  try {
    await work;
  } catch (error) {
    const message = messageOf(error);
    const answered = csiErrorOf(error)?.answered === true || csiErrorOf(error) === undefined;
    const errorCode = answered ? grpcStatus[codeOf(error)] : grpcStatus.UNAVAILABLE;
    await store.changeIfThere(ref, (current) => {
      if (current.status?.[field]?.message === message) return current;
      const failure = { time: new Date().toISOString(), message, errorCode };
      return { ...current, status: { attached: false, ...current.status, [field]: failure } };
    });
    throw error;
  }
}
