import { z } from 'zod';
import {
  DEFAULT_SNAPSHOT_CLASS,
  type Manifest,
  parseObject,
  type Snapshot,
  type SnapshotClass,
  type SnapshotContent,
  secretReference,
  type Volume,
} from '../objects/index.ts';
import { snapshotParameters } from '../requests/index.ts';
import { ANNOTATION, FINALIZER } from './annotations.ts';
import { annotationOf, isDeleting, withFinalizer, withoutFinalizer } from './editing.ts';

/** What CreateSnapshot is asked for, secrets aside; written before the first call. */
const intent = z.strictObject({
  name: z.string(),
  parameters: z.record(z.string(), z.string()),
  secret: secretReference.optional(),
  listSecret: secretReference.optional(),
});

export type SnapshotIntent = z.output<typeof intent>;

/** Of contents that were prepared by hand there is none. */
export function snapshotIntentOf(content: SnapshotContent): SnapshotIntent | undefined {
  const text = annotationOf(content, ANNOTATION.snapshotting);
  return text === undefined ? undefined : intent.parse(JSON.parse(text));
}

export interface SnapshotView {
  readonly classes: readonly SnapshotClass[];
  /** The volume of the claim that is the source; undefined if it has none (yet). */
  readonly volume: Volume | undefined;
  /** The content that the snapshot has, or names. */
  readonly content: SnapshotContent | undefined;
  /** Whether a volume is being made of it. */
  readonly inUse: boolean;
}

export type SnapshotPlan =
  | { readonly do: 'nothing' }
  | { readonly do: 'wait'; readonly message: string }
  | { readonly do: 'write'; readonly snapshot: Snapshot }
  | { readonly do: 'create-content'; readonly content: Manifest<'VolumeSnapshotContent'> }
  /** The content's back-reference gets the uid of the snapshot. */
  | { readonly do: 'bind-content' }
  | { readonly do: 'delete-content' };

/** The name of the content that is made for a snapshot. */
export function contentNameFor(snapshot: Snapshot): string {
  const { source } = snapshot.spec;
  return 'volumeSnapshotContentName' in source
    ? source.volumeSnapshotContentName
    : `snapcontent-${snapshot.metadata.uid}`;
}

/** The next step of a snapshot. Pure. */
export function planSnapshot(snapshot: Snapshot, view: SnapshotView): SnapshotPlan {
  const { content } = view;
  if (isDeleting(snapshot)) return planDeletion(snapshot, view);
  const held = withFinalizer(snapshot, FINALIZER.snapshotBound);
  if (held !== snapshot) return { do: 'write', snapshot: held };
  if (content === undefined) return planContent(snapshot, view);
  const reference = content.spec.volumeSnapshotRef;
  const { name, namespace, uid } = snapshot.metadata;
  const meant = reference.name === name && (reference.namespace ?? 'default') === namespace;
  if (!meant || (reference.uid !== undefined && reference.uid !== '' && reference.uid !== uid)) {
    return wait(`VolumeSnapshotContent "${content.metadata.name}" is of another snapshot`);
  }
  if (reference.uid !== uid) return { do: 'bind-content' };
  const status = statusFrom(content);
  return JSON.stringify(status) === JSON.stringify(snapshot.status)
    ? { do: 'nothing' }
    : { do: 'write', snapshot: { ...snapshot, status } };
}

function planDeletion(snapshot: Snapshot, { content, inUse }: SnapshotView): SnapshotPlan {
  if (inUse) return wait('it is deleted when the volume that is being made of it is there');
  const own = content !== undefined && content.spec.volumeSnapshotRef.uid === snapshot.metadata.uid;
  if (own && content.spec.deletionPolicy === 'Delete') {
    return isDeleting(content) ? { do: 'nothing' } : { do: 'delete-content' };
  }
  const free = withoutFinalizer(snapshot, FINALIZER.snapshotBound);
  return free === snapshot ? { do: 'nothing' } : { do: 'write', snapshot: free };
}

function planContent(snapshot: Snapshot, { classes, volume }: SnapshotView): SnapshotPlan {
  const { source } = snapshot.spec;
  if ('volumeSnapshotContentName' in source) {
    return wait(`there is no VolumeSnapshotContent "${source.volumeSnapshotContentName}"`);
  }
  if (volume === undefined) {
    return wait(`claim "${source.persistentVolumeClaimName}" has no volume to cut a snapshot of`);
  }
  const { driver, volumeHandle } = volume.spec.csi;
  const chosen = classFor(snapshot, classes, driver);
  if (typeof chosen === 'string') return wait(chosen);
  return {
    do: 'create-content',
    content: contentOf(snapshot, chosen, { volumeHandle, volumeMode: volume.spec.volumeMode }),
  };
}

function classFor(
  snapshot: Snapshot,
  classes: readonly SnapshotClass[],
  driver: string,
): SnapshotClass | string {
  const name = snapshot.spec.volumeSnapshotClassName;
  if (name === undefined) {
    const fallback = classes.find(
      (each) => each.driver === driver && annotationOf(each, DEFAULT_SNAPSHOT_CLASS) === 'true',
    );
    return fallback ?? `it names no class, and driver "${driver}" has no default one`;
  }
  const found = classes.find(({ metadata }) => metadata.name === name);
  if (found === undefined) return `there is no VolumeSnapshotClass "${name}"`;
  return found.driver === driver ? found : `class "${name}" is one of driver "${found.driver}"`;
}

function contentOf(
  snapshot: Snapshot,
  chosen: SnapshotClass,
  source: { volumeHandle: string; volumeMode: 'Filesystem' | 'Block' },
): Manifest<'VolumeSnapshotContent'> {
  const { name, namespace, uid } = snapshot.metadata;
  const { driver, secret, listSecret } = snapshotParameters(chosen.parameters, {
    'volumesnapshot.name': name,
    'volumesnapshot.namespace': namespace,
    'volumesnapshotcontent.name': contentNameFor(snapshot),
  });
  const noted: SnapshotIntent = {
    name: `snapshot-${uid}`,
    parameters: driver,
    ...(secret === undefined ? {} : { secret }),
    ...(listSecret === undefined ? {} : { listSecret }),
  };
  return parseObject('VolumeSnapshotContent', {
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshotContent',
    metadata: {
      name: contentNameFor(snapshot),
      annotations: { [ANNOTATION.snapshotting]: JSON.stringify(noted) },
      finalizers: [FINALIZER.contentBound],
    },
    spec: {
      deletionPolicy: chosen.deletionPolicy,
      driver: chosen.driver,
      source: { volumeHandle: source.volumeHandle },
      sourceVolumeMode: source.volumeMode,
      volumeSnapshotClassName: chosen.metadata.name,
      volumeSnapshotRef: {
        apiVersion: 'snapshot.storage.k8s.io/v1',
        kind: 'VolumeSnapshot',
        name,
        namespace,
        uid,
      },
    },
  });
}

function statusFrom({ metadata, status }: SnapshotContent): Snapshot['status'] {
  const { creationTime, restoreSize, readyToUse, error } = status ?? {};
  return {
    boundVolumeSnapshotContentName: metadata.name,
    ...(creationTime === undefined
      ? {}
      : { creationTime: new Date(creationTime / 1e6).toISOString() }),
    readyToUse: readyToUse ?? false,
    ...(restoreSize === undefined ? {} : { restoreSize: String(restoreSize) }),
    ...(error === undefined ? {} : { error }),
  };
}

function wait(message: string): SnapshotPlan {
  return { do: 'wait', message };
}

export type ContentPlan = 'nothing' | 'hold' | 'begin' | 'create' | 'look-up' | 'delete' | 'free';

/** The next step of a content. `snapshotLives`: the snapshot it belongs to is there to stay. Pure. */
export function planSnapshotContent(content: SnapshotContent, snapshotLives: boolean): ContentPlan {
  const begun = annotationOf(content, ANNOTATION.snapshotBeingCreated) !== undefined;
  const handle = handleOf(content);
  if (isDeleting(content)) {
    if (snapshotLives || withoutFinalizer(content, FINALIZER.contentBound) === content) {
      return 'nothing';
    }
    const made = handle !== undefined || begun;
    return content.spec.deletionPolicy === 'Delete' && made ? 'delete' : 'free';
  }
  if (withFinalizer(content, FINALIZER.contentBound) !== content) return 'hold';
  if (content.status?.readyToUse === true) return 'nothing';
  if ('snapshotHandle' in content.spec.source) return 'look-up';
  if (snapshotIntentOf(content) === undefined) return 'nothing';
  return begun ? 'create' : 'begin';
}

/** What the driver calls the snapshot, once that is known. */
export function handleOf({ spec, status }: SnapshotContent): string | undefined {
  return 'snapshotHandle' in spec.source ? spec.source.snapshotHandle : status?.snapshotHandle;
}
