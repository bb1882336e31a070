import { messageOf } from '../../base/index.ts';
import { DriverController } from '../controllers/driver-controller.ts';
import { isDeleting } from '../controllers/index.ts';
import { type Ref, refOf, type Stored } from '../objects/index.ts';
import type { Change, ObjectStore } from '../store/index.ts';
import type { NodeParts } from './node-parts.ts';
import { stageName } from './paths.ts';
import { unstageVolume } from './stage.ts';
import { unpublishVolume } from './unpublish.ts';

/**
 * Takes volumes down in reverse: what is being released is unpublished, what no pod has is
 * unstaged, what is not staged is detached. Each is looked at on its own, so that after a
 * crash it goes on wherever it was.
 */
export class NodeController extends DriverController {
  constructor(parts: NodeParts) {
    const { store } = parts;
    const busySince = new Map<string, number>();
    super(parts, {
      name: 'node',
      failure: 'FailedUnmount',
      concerns: (change) => concerns(store, change),
      all: () => [
        ...store.list('VolumePublication'),
        ...store.list('VolumeStage'),
        ...store.list('VolumeAttachment'),
      ],
      reconcile: (ref, signal) => reconcile(parts, ref, busySince, signal),
    });
  }
}

function* concerns(store: ObjectStore, { object }: Change): Generator<Ref> {
  const { kind } = object;
  if (kind !== 'VolumePublication' && kind !== 'VolumeStage' && kind !== 'VolumeAttachment') return;
  yield refOf(object as Stored);
  if (kind === 'VolumeAttachment') return;
  const { driver, volumeHandle, volumeName } = object.spec;
  yield { kind: 'VolumeStage', name: stageName(driver, volumeHandle) };
  for (const attachment of store.list('VolumeAttachment')) {
    if (attachment.spec.source.persistentVolumeName === volumeName) {
      yield refOf(attachment as Stored);
    }
  }
}

async function reconcile(
  parts: NodeParts,
  ref: Ref,
  busySince: Map<string, number>,
  signal: AbortSignal,
): Promise<void> {
  if (ref.kind === 'VolumePublication') {
    return unpublish(parts, ref as Ref<'VolumePublication'>, busySince, signal);
  }
  if (ref.kind === 'VolumeStage') return unstage(parts, ref as Ref<'VolumeStage'>, signal);
  return detach(parts, ref as Ref<'VolumeAttachment'>);
}

async function unpublish(
  parts: NodeParts,
  ref: Ref<'VolumePublication'>,
  busySince: Map<string, number>,
  signal: AbortSignal,
): Promise<void> {
  const { store, drivers, busyTimeout } = parts;
  const seen = store.find(ref);
  if (seen?.status.phase !== 'Releasing') return void busySince.delete(ref.name);
  using _lock = await drivers.lock(seen.spec.driver, seen.spec.volumeHandle, signal);
  const publication = store.find(ref);
  if (publication?.status.phase !== 'Releasing') return;
  const since = busySince.get(ref.name);
  const force = since !== undefined && Date.now() - since >= busyTimeout;
  try {
    await unpublishVolume(parts, publication, { force, signal });
    busySince.delete(ref.name);
  } catch (error) {
    if (since === undefined) busySince.set(ref.name, Date.now());
    const message = messageOf(error);
    await store.changeIfThere(ref, (current) =>
      current.status.error === message
        ? current
        : { ...current, status: { ...current.status, error: message } },
    );
    throw error;
  }
}

async function unstage(
  parts: NodeParts,
  ref: Ref<'VolumeStage'>,
  signal: AbortSignal,
): Promise<void> {
  const { store, drivers } = parts;
  const seen = store.find(ref);
  if (seen === undefined || hasUsers(store, seen.spec)) return;
  using _lock = await drivers.lock(seen.spec.driver, seen.spec.volumeHandle, signal);
  const stage = store.find(ref);
  if (stage === undefined || hasUsers(store, stage.spec)) return;
  await unstageVolume(parts, stage, signal);
}

function hasUsers(
  store: ObjectStore,
  { driver, volumeHandle }: { driver: string; volumeHandle: string },
): boolean {
  return store
    .list('VolumePublication')
    .some(({ spec }) => spec.driver === driver && spec.volumeHandle === volumeHandle);
}

async function detach({ store }: NodeParts, ref: Ref<'VolumeAttachment'>): Promise<void> {
  const attachment = store.find(ref);
  if (attachment === undefined || isDeleting(attachment)) return;
  const name = attachment.spec.source.persistentVolumeName;
  const used = [...store.list('VolumePublication'), ...store.list('VolumeStage')];
  if (used.some(({ spec }) => spec.volumeName === name)) return;
  await store.delete(ref);
}
