import { DeleteVolumeRequest } from '../../gen/csi/v1/csi.ts';
import { type Ref, refOf, type Stored, type Volume } from '../objects/index.ts';
import { saysNotFound } from '../protocol/index.ts';
import { ANNOTATION, FINALIZER } from './annotations.ts';
import type { DriverControllerParts } from './controller.ts';
import { DriverController } from './driver-controller.ts';
import { annotationOf, hasFinalizer, withFinalizer, withoutFinalizer } from './editing.ts';
import { isVolumeInUse } from './usage.ts';

export type ReclaimPlan =
  | { readonly do: 'nothing' }
  | { readonly do: 'write'; readonly volume: Volume }
  | { readonly do: 'wait'; readonly message: string }
  | { readonly do: 'delete' };

/** What becomes of a volume that a driver made, once its claim has gone. Pure. */
export function planReclaim(volume: Volume, inUse: boolean): ReclaimPlan {
  if (annotationOf(volume, ANNOTATION.provisionedBy) === undefined) return { do: 'nothing' };
  const deletes = volume.spec.persistentVolumeReclaimPolicy === 'Delete';
  const held = hasFinalizer(volume, FINALIZER.provisioned);
  if (!deletes) {
    return held
      ? { do: 'write', volume: withoutFinalizer(volume, FINALIZER.provisioned) }
      : { do: 'nothing' };
  }
  if (!held) {
    if (volume.metadata.deletionTimestamp !== undefined) return { do: 'nothing' };
    return { do: 'write', volume: withFinalizer(volume, FINALIZER.provisioned) };
  }
  if (volume.status?.phase !== 'Released') return { do: 'nothing' };
  return inUse ? { do: 'wait', message: 'it is still in use on this node' } : { do: 'delete' };
}

/** Deletes released volumes whose reclaim policy says so (external-provisioner's other job). */
export class Reclaimer extends DriverController {
  constructor(parts: DriverControllerParts) {
    super(parts, {
      name: 'reclaimer',
      failure: 'VolumeFailedDelete',
      concerns: ({ object }) => {
        if (object.kind === 'PersistentVolume') return [refOf(object as Stored)];
        if (object.kind === 'VolumeAttachment') {
          return [{ kind: 'PersistentVolume', name: object.spec.source.persistentVolumeName }];
        }
        const onNode = object.kind === 'VolumeStage' || object.kind === 'VolumePublication';
        return onNode ? [{ kind: 'PersistentVolume', name: object.spec.volumeName }] : [];
      },
      all: () => parts.store.list('PersistentVolume'),
      reconcile: (ref, signal) => reclaim(parts, ref as Ref<'PersistentVolume'>, signal),
    });
  }
}

async function reclaim(
  parts: DriverControllerParts,
  ref: Ref<'PersistentVolume'>,
  signal: AbortSignal,
): Promise<void> {
  const { store, events } = parts;
  const volume = store.find(ref);
  if (volume === undefined) return;
  const plan = planReclaim(volume, isVolumeInUse(store, volume));
  if (plan.do === 'wait') events.add(ref, 'Normal', 'VolumeInUse', plan.message);
  if (plan.do === 'write') {
    await store.changeIfThere(ref, (current) =>
      current.metadata.resourceVersion === volume.metadata.resourceVersion ? plan.volume : current,
    );
  }
  if (plan.do !== 'delete') return;
  await deleteVolume(parts, volume, signal);
  await store.delete(ref);
  await store.changeIfThere(ref, (current) => withoutFinalizer(current, FINALIZER.provisioned));
}

async function deleteVolume(
  { drivers, secrets }: DriverControllerParts,
  volume: Volume,
  signal: AbortSignal,
): Promise<void> {
  const { driver: name, volumeHandle } = volume.spec.csi;
  using _lock = await drivers.lock(name, volumeHandle, signal);
  const driver = drivers.get(name);
  const secretName = annotationOf(volume, ANNOTATION.deletionSecretName);
  const namespace = annotationOf(volume, ANNOTATION.deletionSecretNamespace);
  const reference =
    secretName === undefined || namespace === undefined
      ? undefined
      : { name: secretName, namespace };
  const request = { volumeId: volumeHandle, secrets: await secrets.read(reference) };
  try {
    await driver.client.controller.deleteVolume(DeleteVolumeRequest.fromPartial(request), {
      signal,
    });
  } catch (error) {
    // The specification wants OK for a volume that is gone; some drivers say this.
    if (saysNotFound(error)) return;
    throw error;
  }
}
