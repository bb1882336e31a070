import { stringify } from 'yaml';
import { humanDuration, humanSize } from './human.ts';
import { table } from './output.ts';
import type { ObjectReport, VolumeObject } from './volume-objects.ts';

/** Kinds that Keelson keeps for itself: of interest with the object that they belong to. */
const HIDDEN = new Set(['VolumeStage', 'VolumePublication', 'VolumeAttachment', 'CSINode']);

/** Rows of `keelson volume ls`, with a head. */
export function volumeRows(objects: readonly VolumeObject[]): string[][] {
  const rows = objects.filter(({ kind }) => !HIDDEN.has(kind)).map(rowOf);
  return [['KIND', 'NAME', 'STATUS', 'SIZE', 'CLASS', 'VOLUME', 'AGE'], ...rows];
}

type Values = Readonly<Record<string, unknown>>;

function rowOf(object: VolumeObject): string[] {
  const { kind, metadata, spec = {}, status = {} } = object;
  const { namespace } = metadata;
  const name =
    namespace === undefined || namespace === 'default'
      ? metadata.name
      : `${namespace}/${metadata.name}`;
  return [
    kind,
    name,
    statusOf(object),
    sizeOf(kind, spec, status),
    text(spec['storageClassName'] ?? spec['volumeSnapshotClassName']),
    text(spec['volumeName'] ?? status['boundVolumeSnapshotContentName'] ?? handleOf(spec)),
    humanDuration(Date.now() - Date.parse(metadata.creationTimestamp)),
  ];
}

function statusOf({ kind, metadata, status = {} }: VolumeObject): string {
  if (metadata.deletionTimestamp !== undefined) return 'Terminating';
  if (kind === 'VolumeSnapshot' || kind === 'VolumeSnapshotContent') {
    return status['readyToUse'] === true ? 'Ready' : 'Pending';
  }
  return text(status['phase']);
}

function sizeOf(kind: string, spec: Values, status: Values): string {
  if (kind === 'PersistentVolume') return text((spec['capacity'] as Values)['storage']);
  if (kind === 'VolumeSnapshot' || kind === 'VolumeSnapshotContent') {
    const size = status['restoreSize'];
    return size === undefined ? '' : humanSize(Number(size), 3);
  }
  if (kind !== 'PersistentVolumeClaim') return '';
  const resources = spec['resources'] as { requests?: Values } | undefined;
  return text(
    (status['capacity'] as Values | undefined)?.['storage'] ?? resources?.requests?.['storage'],
  );
}

function handleOf(spec: Values): unknown {
  return (spec['csi'] as Values | undefined)?.['volumeHandle'];
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** `keelson volume inspect -o table`: the object, its relatives, and what happened. */
export function reportLines({ object, related, events, health }: ObjectReport): string {
  const parts = [stringify({ ...object }), table(volumeRowsOfAll(related))];
  if (Object.keys(health).length > 0) parts.push(stringify({ health }));
  const rows = events.map(({ time, type, reason, message, count }) => [
    ...[time, type, reason, count > 1 ? `${message} (${count} times)` : message],
  ]);
  if (rows.length > 0) parts.push(table([['TIME', 'TYPE', 'REASON', 'MESSAGE'], ...rows]));
  return parts.join('\n');
}

function volumeRowsOfAll(objects: readonly VolumeObject[]): string[][] {
  return [['KIND', 'NAME', 'STATUS', 'SIZE', 'CLASS', 'VOLUME', 'AGE'], ...objects.map(rowOf)];
}
