import { text } from 'node:stream/consumers';
import { KeelsonError } from '../base/index.ts';
import { askAdmin, askAdminJson } from './admin-client.ts';
import type { Context } from './context.ts';
import { usageError } from './failures.ts';

/** A volume object as the daemon answers it; the parts that are shown. */
export interface VolumeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly creationTimestamp: string;
    readonly deletionTimestamp?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
  readonly [field: string]: unknown;
}

export interface VolumeEvent {
  readonly time: string;
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly count: number;
}

export interface ObjectReport {
  readonly object: VolumeObject;
  readonly events: readonly VolumeEvent[];
  readonly related: readonly VolumeObject[];
  readonly health: Readonly<Record<string, unknown>>;
}

/** What kinds are called on the command line, as kubectl has it. */
const SHORT: Readonly<Record<string, string>> = {
  pvc: 'PersistentVolumeClaim',
  claim: 'PersistentVolumeClaim',
  persistentvolumeclaim: 'PersistentVolumeClaim',
  pv: 'PersistentVolume',
  volume: 'PersistentVolume',
  persistentvolume: 'PersistentVolume',
  sc: 'StorageClass',
  class: 'StorageClass',
  storageclass: 'StorageClass',
  snapshot: 'VolumeSnapshot',
  volumesnapshot: 'VolumeSnapshot',
  content: 'VolumeSnapshotContent',
  volumesnapshotcontent: 'VolumeSnapshotContent',
  snapshotclass: 'VolumeSnapshotClass',
  volumesnapshotclass: 'VolumeSnapshotClass',
  csidriver: 'CSIDriver',
};

export interface ObjectRef {
  readonly kind: string;
  readonly name: string;
  readonly namespace: string;
}

/** `NAME` for a claim, `KIND/NAME` for others. */
export function objectRef(text: string, namespace: string): ObjectRef {
  const slash = text.indexOf('/');
  const name = text.slice(slash + 1);
  const kind = slash < 0 ? 'PersistentVolumeClaim' : SHORT[text.slice(0, slash).toLowerCase()];
  if (kind !== undefined && name !== '') return { kind, name, namespace };
  const kinds = ['claim', 'volume', 'class', 'snapshot', 'content', 'snapshotclass', 'csidriver'];
  throw usageError(
    `"${text}" is no object: write NAME for a claim, or one of ${kinds.join('/, ')}/ and its name`,
  );
}

export function queryOf({ kind, name, namespace }: ObjectRef): string {
  return new URLSearchParams({ kind, name, namespace }).toString();
}

export async function listObjects(context: Context): Promise<VolumeObject[]> {
  const { objects } = await askAdminJson<{ objects: VolumeObject[] }>(await context.cri(), {
    path: '/volumes',
    signal: context.signal,
  });
  return objects;
}

export async function reportOf(context: Context, ref: ObjectRef): Promise<ObjectReport> {
  return askAdminJson<ObjectReport>(await context.cri(), {
    path: `/volumes/object?${queryOf(ref)}`,
    signal: context.signal,
  });
}

export interface Applied {
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  readonly result: string;
}

export async function applyObjects(context: Context, manifests: string): Promise<Applied[]> {
  return askAdminJson<Applied[]>(await context.cri(), {
    method: 'POST',
    path: '/volumes/apply',
    body: manifests,
    signal: context.signal,
  });
}

/** Answers whether it is gone already: finalizers may hold it until nothing uses it. */
export async function deleteObject(context: Context, ref: ObjectRef): Promise<boolean> {
  const { gone } = await askAdminJson<{ gone: boolean }>(await context.cri(), {
    method: 'POST',
    path: `/volumes/delete?${queryOf(ref)}`,
    signal: context.signal,
  });
  return gone;
}

/** Where a volume is for a pod. */
export interface PodVolume {
  readonly hostPath: string;
  readonly volumeMode: 'Filesystem' | 'Block';
  readonly readOnly: boolean;
}

export interface PublishRequest {
  readonly pod: { readonly uid: string; readonly name: string; readonly namespace: string };
  readonly volumes: readonly { readonly claim: string; readonly readOnly: boolean }[];
  readonly timeout: number;
}

/** Makes the volumes of a pod ready, which is to be run then. */
export async function publishVolumes(
  context: Context,
  request: PublishRequest,
): Promise<PodVolume[]> {
  return askAdminJson<PodVolume[]>(await context.cri(), {
    method: 'POST',
    path: '/volumes/publish',
    body: JSON.stringify(request),
    signal: context.signal,
  });
}

/** Takes the volumes from a pod that was not run after all. */
export async function releaseVolumes(context: Context, podUid: string): Promise<void> {
  const cri = (await context.cri()).uninterrupted();
  const path = `/volumes/release?${new URLSearchParams({ pod: podUid })}`;
  await text(await askAdmin(cri, { method: 'POST', path, signal: AbortSignal.timeout(60_000) }));
}

/** The last thing that was said of an object, for whoever waits for it. */
export function lastWords({ events }: ObjectReport): string {
  return events.at(-1)?.message ?? 'nothing is known of why';
}

export function timedOut(action: string, report: ObjectReport): KeelsonError {
  return new KeelsonError('DEADLINE_EXCEEDED', action, { reason: lastWords(report) });
}
