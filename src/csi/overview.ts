import { messageOf } from '../base/index.ts';
import type { VolumeEvent } from './controllers/index.ts';
import type { CsiHost } from './host.ts';
import { type VolumeHealth, volumeHealth } from './node/index.ts';
import { type Kind, keyOf, type Ref, refOf, type Stored } from './objects/index.ts';

/** One object with all that belongs to it, for people. */
export interface ObjectReport {
  readonly object: Stored;
  readonly events: readonly VolumeEvent[];
  /** The volume of a claim, the claim of a volume, attachments, stages, pods that have it. */
  readonly related: readonly Stored[];
  /** By pod, as drivers tell it. */
  readonly health: Readonly<Record<string, VolumeHealth>>;
}

/** A driver as it registered. */
export interface DriverReport {
  readonly name: string;
  readonly version: string;
  readonly endpoint: string;
  readonly nodeId: string | undefined;
  readonly maxVolumes: number;
  readonly topology: Readonly<Record<string, string>>;
  readonly plugin: readonly string[];
  readonly controller: readonly string[];
  readonly node: readonly string[];
  /** Volumes that it has on this node. */
  readonly volumes: number;
}

export function driverReports({ drivers, store }: CsiHost): DriverReport[] {
  return drivers.list().map(({ name, endpoint, description }) => {
    const { version, plugin, expansion, controller, node } = description;
    const here = [...store.list('VolumePublication'), ...store.list('VolumeStage')];
    const handles = here.filter(({ spec }) => spec.driver === name);
    return {
      ...{ name, version, endpoint, controller },
      plugin: [...plugin, ...expansion.map((mode) => `EXPANSION_${mode}`)],
      nodeId: node?.nodeId,
      maxVolumes: Number(node?.maxVolumes ?? 0),
      topology: node?.topology ?? {},
      node: node?.capabilities ?? [],
      volumes: new Set(handles.map(({ spec }) => spec.volumeHandle)).size,
    };
  });
}

/** All about one object. Fails with NOT_FOUND. */
export async function reportObject(
  host: CsiHost,
  ref: Ref,
  signal: AbortSignal,
): Promise<ObjectReport> {
  const object = host.store.get(ref) as Stored;
  const related = relatedTo(host, object);
  return {
    object,
    events: host.events.of(refOf(object)),
    related,
    health: await healthOf(host, related, signal),
  };
}

const RELATED: readonly Kind[] = [
  'PersistentVolumeClaim',
  'PersistentVolume',
  'VolumeAttachment',
  'VolumeStage',
  'VolumePublication',
  'VolumeSnapshot',
  'VolumeSnapshotContent',
];

function relatedTo({ store }: CsiHost, object: Stored): Stored[] {
  const names = namesOf(object);
  const all = RELATED.flatMap((kind) => store.list(kind) as Stored[]);
  return all.filter((each) => {
    if (keyOf(refOf(each)) === keyOf(refOf(object))) return false;
    return [...namesOf(each)].some((name) => names.has(name));
  });
}

/** What an object is tied to others by: itself, and those that it names. */
function namesOf(object: Stored): Set<string> {
  const names = new Set([keyOf(refOf(object))]);
  const volume = (name: string | undefined) => {
    if (name !== undefined) names.add(keyOf({ kind: 'PersistentVolume', name }));
  };
  if (object.kind === 'PersistentVolumeClaim') volume(object.spec.volumeName);
  if (object.kind === 'VolumeAttachment') volume(object.spec.source.persistentVolumeName);
  if (object.kind === 'VolumeStage' || object.kind === 'VolumePublication') {
    volume(object.spec.volumeName);
  }
  if (object.kind === 'PersistentVolume' && object.spec.claimRef !== undefined) {
    const { name, namespace } = object.spec.claimRef;
    names.add(keyOf({ kind: 'PersistentVolumeClaim', name, namespace }));
  }
  if (object.kind === 'VolumeSnapshotContent') {
    const { name, namespace } = object.spec.volumeSnapshotRef;
    names.add(keyOf({ kind: 'VolumeSnapshot', name, namespace }));
  }
  if (object.kind === 'VolumeSnapshot' && 'persistentVolumeClaimName' in object.spec.source) {
    const { namespace } = object.metadata;
    const name = object.spec.source.persistentVolumeClaimName;
    names.add(keyOf({ kind: 'PersistentVolumeClaim', name, namespace }));
  }
  return names;
}

/** A driver that does not answer, or lies, hides nothing else. */
async function healthOf(
  host: CsiHost,
  related: readonly Stored[],
  signal: AbortSignal,
): Promise<Record<string, VolumeHealth>> {
  const found: Record<string, VolumeHealth> = {};
  for (const each of related) {
    if (each.kind !== 'VolumePublication' || each.status.phase !== 'Published') continue;
    try {
      const health = await volumeHealth(
        host.node,
        each,
        AbortSignal.any([signal, AbortSignal.timeout(5000)]),
      );
      if (health !== undefined) found[each.spec.pod.name] = health;
    } catch (error) {
      const condition = { abnormal: true, message: messageOf(error) };
      found[each.spec.pod.name] = { bytes: undefined, inodes: undefined, condition };
    }
  }
  return found;
}
