import type { z } from 'zod';
import { volumeAttachment } from './attachment.ts';
import { persistentVolumeClaim } from './claim.ts';
import { csiDriver, csiNode } from './driver.ts';
import type { Metadata } from './metadata.ts';
import { volumePublication, volumeStage } from './node-records.ts';
import { persistentVolume } from './persistent-volume.ts';
import { volumeSnapshot, volumeSnapshotClass, volumeSnapshotContent } from './snapshot.ts';
import { storageClass } from './storage-class.ts';

/** All kinds that the store keeps, by name. */
export const SCHEMAS = {
  StorageClass: storageClass,
  PersistentVolumeClaim: persistentVolumeClaim,
  PersistentVolume: persistentVolume,
  VolumeAttachment: volumeAttachment,
  CSIDriver: csiDriver,
  CSINode: csiNode,
  VolumeSnapshot: volumeSnapshot,
  VolumeSnapshotClass: volumeSnapshotClass,
  VolumeSnapshotContent: volumeSnapshotContent,
  VolumeStage: volumeStage,
  VolumePublication: volumePublication,
} as const;

export type Kind = keyof typeof SCHEMAS;

export const KINDS = Object.keys(SCHEMAS) as Kind[];

type Output<K extends Kind> = z.output<(typeof SCHEMAS)[K]>;

/** An object as a manifest has it: checked, defaults filled in, not stored yet. */
export type Manifest<K extends Kind = Kind> = K extends Kind ? Output<K> : never;

/** An object as the store has it. Never changed in place: the store hands the same one to all. */
export type Stored<K extends Kind = Kind> = K extends Kind
  ? Omit<Output<K>, 'metadata'> & { metadata: Output<K>['metadata'] & Metadata }
  : never;

export type StorageClass = Stored<'StorageClass'>;
export type Claim = Stored<'PersistentVolumeClaim'>;
export type Volume = Stored<'PersistentVolume'>;
export type Attachment = Stored<'VolumeAttachment'>;
export type CsiDriver = Stored<'CSIDriver'>;
export type Snapshot = Stored<'VolumeSnapshot'>;
export type SnapshotClass = Stored<'VolumeSnapshotClass'>;
export type SnapshotContent = Stored<'VolumeSnapshotContent'>;
export type Stage = Stored<'VolumeStage'>;
export type Publication = Stored<'VolumePublication'>;

/** Kinds that live in a namespace. */
const NAMESPACED: ReadonlySet<Kind> = new Set(['PersistentVolumeClaim', 'VolumeSnapshot']);

/** Kinds that only Keelson writes: a manifest of them is refused. */
const OWN: ReadonlySet<Kind> = new Set([
  'VolumeStage',
  'VolumePublication',
  'VolumeAttachment',
  'CSINode',
]);

export function isNamespaced(kind: Kind): boolean {
  return NAMESPACED.has(kind);
}

export function isWritable(kind: Kind): boolean {
  return !OWN.has(kind);
}

/** Names one object. The namespace is undefined for kinds of the whole host. */
export interface Ref<K extends Kind = Kind> {
  readonly kind: K;
  readonly name: string;
  readonly namespace?: string | undefined;
}

export function refOf<K extends Kind>(object: {
  kind: K;
  metadata: { name: string; namespace?: string };
}): Ref<K> {
  const { kind, metadata } = object;
  return { kind, name: metadata.name, namespace: metadata.namespace };
}

/** Such as `PersistentVolumeClaim/default/data`: the same for the same object only. */
export function keyOf({ kind, name, namespace = 'default' }: Ref): string {
  // Whoever leaves the namespace out means `default`; elsewhere it has no meaning.
  return isNamespaced(kind) ? `${kind}/${namespace}/${name}` : `${kind}/${name}`;
}

/** For messages, such as `PersistentVolumeClaim "default/data"`. */
export function describeRef({ kind, name, namespace = 'default' }: Ref): string {
  return `${kind} "${isNamespaced(kind) ? `${namespace}/${name}` : name}"`;
}
