import { KeelsonError, messageOf } from '../../base/index.ts';
import {
  CreateSnapshotRequest,
  type Snapshot as CsiSnapshot,
  DeleteSnapshotRequest,
  ListSnapshotsRequest,
} from '../../gen/csi/v1/csi.ts';
import {
  type Ref,
  refOf,
  type Snapshot,
  type SnapshotContent,
  type Stored,
  type Volume,
} from '../objects/index.ts';
import { outcomeOf } from '../protocol/index.ts';
import type { Change, ObjectStore } from '../store/index.ts';
import { ANNOTATION, FINALIZER } from './annotations.ts';
import type { DriverControllerParts } from './controller.ts';
import { DriverController } from './driver-controller.ts';
import { isDeleting, withAnnotations, withFinalizer, withoutFinalizer } from './editing.ts';
import { writePlanned } from './plan.ts';
import {
  contentNameFor,
  handleOf,
  planSnapshot,
  planSnapshotContent,
  snapshotIntentOf,
} from './snapshot-plans.ts';
import { isSnapshotInUse } from './usage.ts';

type SnapshotRef = Ref<'VolumeSnapshot'>;
type ContentRef = Ref<'VolumeSnapshotContent'>;

/** Cuts, finds and deletes snapshots (the jobs of snapshot-controller and external-snapshotter). */
export class Snapshotter extends DriverController {
  constructor(parts: DriverControllerParts) {
    const { store } = parts;
    super(parts, {
      name: 'snapshotter',
      failure: 'SnapshotFailed',
      concerns: (change) => concerns(store, change),
      all: () => [...store.list('VolumeSnapshot'), ...store.list('VolumeSnapshotContent')],
      reconcile: (ref, signal) =>
        ref.kind === 'VolumeSnapshot'
          ? reconcileSnapshot(parts, ref as SnapshotRef)
          : reconcileContent(parts, ref as ContentRef, signal),
    });
  }
}

function* concerns(store: ObjectStore, { object }: Change): Generator<Ref> {
  const { kind, metadata } = object;
  if (kind === 'VolumeSnapshot') {
    yield refOf(object as Stored);
    yield { kind: 'VolumeSnapshotContent', name: contentNameFor(object) };
  }
  if (kind === 'VolumeSnapshotContent') {
    yield refOf(object as Stored);
    const { name, namespace } = object.spec.volumeSnapshotRef;
    yield { kind: 'VolumeSnapshot', name, namespace };
  }
  if (kind !== 'PersistentVolumeClaim' && kind !== 'VolumeSnapshotClass') return;
  for (const snapshot of store.list('VolumeSnapshot')) {
    const here =
      kind === 'VolumeSnapshotClass' || snapshot.metadata.namespace === metadata.namespace;
    if (here && (snapshot.status?.readyToUse !== true || isDeleting(snapshot))) {
      yield refOf(snapshot as Stored);
    }
  }
}

async function reconcileSnapshot(parts: DriverControllerParts, ref: SnapshotRef): Promise<void> {
  const { store, events } = parts;
  const snapshot = store.find(ref);
  if (snapshot === undefined) return;
  const content = store.find({ kind: 'VolumeSnapshotContent', name: contentNameFor(snapshot) });
  const plan = planSnapshot(snapshot, {
    classes: store.list('VolumeSnapshotClass'),
    volume: sourceVolume(store, snapshot),
    content,
    inUse: isSnapshotInUse(store, content),
  });
  if (plan.do === 'wait') events.add(ref, 'Warning', 'SnapshotPending', plan.message);
  if (plan.do === 'write') await writePlanned(store, plan.snapshot as Stored);
  if (plan.do === 'create-content') await store.create<'VolumeSnapshotContent'>(plan.content);
  if (content === undefined) return;
  const contentRef = refOf(content) as ContentRef;
  if (plan.do === 'delete-content') await store.delete(contentRef);
  if (plan.do === 'bind-content') {
    const { uid } = snapshot.metadata;
    await store.changeIfThere(contentRef, (current) => ({
      ...current,
      spec: { ...current.spec, volumeSnapshotRef: { ...current.spec.volumeSnapshotRef, uid } },
    }));
  }
}

function sourceVolume(store: ObjectStore, { spec, metadata }: Snapshot): Volume | undefined {
  if (!('persistentVolumeClaimName' in spec.source)) return undefined;
  const claim = store.find({
    kind: 'PersistentVolumeClaim',
    name: spec.source.persistentVolumeClaimName,
    namespace: metadata.namespace,
  });
  const name = claim?.spec.volumeName;
  if (claim === undefined || name === undefined || claim.status?.phase !== 'Bound')
    return undefined;
  // A claim that is on its way out may lose its volume under the driver's hands.
  return isDeleting(claim) ? undefined : store.find({ kind: 'PersistentVolume', name });
}

async function reconcileContent(
  parts: DriverControllerParts,
  ref: ContentRef,
  signal: AbortSignal,
): Promise<void> {
  const { store, drivers } = parts;
  const content = store.find(ref);
  if (content === undefined) return;
  const change = (edit: (current: SnapshotContent) => SnapshotContent) =>
    store.changeIfThere(ref, edit);
  switch (planSnapshotContent(content, snapshotLives(store, content))) {
    case 'nothing':
      return;
    case 'hold':
      return void (await change((current) => withFinalizer(current, FINALIZER.contentBound)));
    case 'free':
      return void (await change((current) => withoutFinalizer(current, FINALIZER.contentBound)));
    case 'begin':
      drivers.get(content.spec.driver);
      return void (await change((current) =>
        isDeleting(current)
          ? current
          : withAnnotations(current, { [ANNOTATION.snapshotBeingCreated]: 'yes' }),
      ));
    case 'create':
      return create(parts, content, signal);
    case 'look-up':
      return lookUp(parts, content, signal);
    case 'delete':
      await remove(parts, content, signal);
      await change((current) => withoutFinalizer(current, FINALIZER.contentBound));
  }
}

/** A content goes with its snapshot, not before it. */
function snapshotLives(store: ObjectStore, content: SnapshotContent): boolean {
  const { name, namespace, uid } = content.spec.volumeSnapshotRef;
  const snapshot = store.find({ kind: 'VolumeSnapshot', name, namespace });
  return snapshot !== undefined && snapshot.metadata.uid === uid && !isDeleting(snapshot);
}

async function create(
  parts: DriverControllerParts,
  content: SnapshotContent,
  signal: AbortSignal,
): Promise<void> {
  const { store } = parts;
  const ref = refOf(content) as ContentRef;
  try {
    const snapshot = await cut(parts, content, signal);
    await store.changeIfThere(ref, (current) => withStatus(current, snapshot));
    if (!snapshot.readyToUse) throw notReady(content);
  } catch (error) {
    if (outcomeOf(error) === 'failed') {
      await store.changeIfThere(ref, (current) =>
        withAnnotations(withError(current, messageOf(error)), {
          [ANNOTATION.snapshotBeingCreated]: undefined,
        }),
      );
    }
    throw error;
  }
}

/** CreateSnapshot; may be repeated for ever with the same outcome. */
async function cut(
  { drivers, secrets }: DriverControllerParts,
  content: SnapshotContent,
  signal: AbortSignal,
): Promise<CsiSnapshot> {
  const intent = snapshotIntentOf(content);
  const { source, driver: driverName } = content.spec;
  const action = `Cannot cut snapshot "${content.metadata.name}"`;
  if (intent === undefined || !('volumeHandle' in source)) {
    throw new KeelsonError('FAILED_PRECONDITION', action, { reason: 'it was prepared by hand' });
  }
  using _lock = await drivers.lock(driverName, source.volumeHandle, signal);
  const driver = drivers.get(driverName);
  if (!driver.can('CREATE_DELETE_SNAPSHOT')) {
    const reason = `driver "${driverName}" cannot do that`;
    throw new KeelsonError('FAILED_PRECONDITION', action, { reason });
  }
  const request = CreateSnapshotRequest.fromPartial({
    sourceVolumeId: source.volumeHandle,
    name: intent.name,
    secrets: await secrets.read(intent.secret),
    parameters: intent.parameters,
  });
  const { snapshot } = await driver.client.controller.createSnapshot(request, { signal });
  if (snapshot?.sourceVolumeId === source.volumeHandle) return snapshot;
  throw new KeelsonError('INTERNAL', action, {
    reason: `driver "${driverName}" answered with one of volume "${snapshot?.sourceVolumeId}"`,
  });
}

/** Whether a snapshot that was prepared by hand is there, as far as the driver can tell. */
async function lookUp(
  { store, drivers, secrets }: DriverControllerParts,
  content: SnapshotContent,
  signal: AbortSignal,
): Promise<void> {
  const ref = refOf(content) as ContentRef;
  const handle = handleOf(content) ?? '';
  const driver = drivers.get(content.spec.driver);
  if (!driver.can('LIST_SNAPSHOTS')) {
    const status = { snapshotHandle: handle, readyToUse: true };
    await store.changeIfThere(ref, (current) => ({ ...current, status }));
    return;
  }
  const request = ListSnapshotsRequest.fromPartial({
    snapshotId: handle,
    secrets: await secrets.read(snapshotIntentOf(content)?.listSecret),
  });
  const { entries } = await driver.client.controller.listSnapshots(request, { signal });
  const found = entries.map(({ snapshot }) => snapshot).find((each) => each?.snapshotId === handle);
  if (found === undefined) {
    const error = new KeelsonError('NOT_FOUND', `Cannot use snapshot "${handle}"`, {
      reason: `driver "${driver.name}" does not know it`,
    });
    await store.changeIfThere(ref, (current) => withError(current, error.message));
    throw error;
  }
  await store.changeIfThere(ref, (current) => withStatus(current, found));
  if (!found.readyToUse) throw notReady(content);
}

/** Deletes it at the driver; what may have been cut without an answer is found out first. */
async function remove(
  parts: DriverControllerParts,
  content: SnapshotContent,
  signal: AbortSignal,
): Promise<void> {
  const { drivers, secrets } = parts;
  let snapshotId = handleOf(content);
  if (snapshotId === undefined) {
    try {
      snapshotId = (await cut(parts, content, signal)).snapshotId;
    } catch (error) {
      if (outcomeOf(error) === 'failed') return;
      throw error;
    }
  }
  using _lock = await drivers.lock(content.spec.driver, snapshotId, signal);
  const driver = drivers.get(content.spec.driver);
  const request = { snapshotId, secrets: await secrets.read(snapshotIntentOf(content)?.secret) };
  await driver.client.controller.deleteSnapshot(DeleteSnapshotRequest.fromPartial(request), {
    signal,
  });
}

function withStatus(content: SnapshotContent, snapshot: CsiSnapshot): SnapshotContent {
  const { creationTime } = snapshot;
  const known = withAnnotations(content, {
    [ANNOTATION.snapshotBeingCreated]: snapshot.readyToUse ? undefined : 'yes',
  });
  return {
    ...known,
    status: {
      snapshotHandle: snapshot.snapshotId,
      readyToUse: snapshot.readyToUse,
      restoreSize: Number(snapshot.sizeBytes),
      // Nanoseconds since 1970, as external-snapshotter writes it; exact to milliseconds.
      ...(creationTime === undefined ? {} : { creationTime: creationTime.getTime() * 1e6 }),
    },
  };
}

function withError(content: SnapshotContent, message: string): SnapshotContent {
  if (content.status?.error?.message === message) return content;
  const error = { time: new Date().toISOString(), message };
  return { ...content, status: { ...content.status, readyToUse: false, error } };
}

function notReady(content: SnapshotContent): KeelsonError {
  const action = `Snapshot "${content.metadata.name}" is not ready`;
  return new KeelsonError('ABORTED', action, { reason: 'the driver is still working on it' });
}
