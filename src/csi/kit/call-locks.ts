import { KeelsonError } from '../../base/index.ts';

interface Wanted {
  readonly key: string;
  /** Whether others may hold it at the same time, such as the source of two clones. */
  readonly shared: boolean;
}

type Fields = Record<string, unknown>;

const volume = (id: unknown, shared = false): Wanted => ({ key: `volume "${id}"`, shared });
const snapshot = (id: unknown, shared = false): Wanted => ({ key: `snapshot "${id}"`, shared });
const named = (kind: string, name: unknown): Wanted => ({
  key: `${kind} "${name}"`,
  shared: false,
});
const byVolume = ({ volumeId }: Fields) => [volume(volumeId)];

/** What a call works on. Calls that only look are not here. */
const LOCKS: Record<string, (request: Fields) => Wanted[]> = {
  CreateVolume: ({ name, volumeContentSource }) => [
    named('volume to be named', name),
    ...sourceOf(volumeContentSource as { type?: Source } | undefined),
  ],
  DeleteVolume: byVolume,
  ControllerPublishVolume: byVolume,
  ControllerUnpublishVolume: byVolume,
  ControllerExpandVolume: byVolume,
  ControllerModifyVolume: byVolume,
  CreateSnapshot: ({ name, sourceVolumeId }) => [
    named('snapshot to be named', name),
    volume(sourceVolumeId, true),
  ],
  DeleteSnapshot: ({ snapshotId }) => [snapshot(snapshotId)],
  CreateVolumeGroupSnapshot: ({ name, sourceVolumeIds }) => [
    named('group snapshot to be named', name),
    ...(sourceVolumeIds as string[]).map((id) => volume(id, true)),
  ],
  DeleteVolumeGroupSnapshot: ({ groupSnapshotId, snapshotIds }) => [
    named('group snapshot', groupSnapshotId),
    ...[...new Set(snapshotIds as string[])].map((id) => snapshot(id)),
  ],
  NodeStageVolume: byVolume,
  NodeUnstageVolume: byVolume,
  NodePublishVolume: byVolume,
  NodeUnpublishVolume: byVolume,
  NodeExpandVolume: byVolume,
};

type Source =
  | { $case: 'snapshot'; value: { snapshotId: string } }
  | { $case: 'volume'; value: { volumeId: string } };

function sourceOf(source: { type?: Source } | undefined): Wanted[] {
  if (source?.type === undefined) return [];
  const { type } = source;
  return [
    type.$case === 'snapshot'
      ? snapshot(type.value.snapshotId, true)
      : volume(type.value.volumeId, true),
  ];
}

/**
 * At most one call at a time changes a volume or snapshot; another is answered ABORTED, and
 * comes again ("Concurrency" of the specification).
 */
export class CallLocks {
  /** -1: held alone; else by how many. */
  readonly #held = new Map<string, number>();

  /** All that the call needs, or none. Fails with ABORTED. */
  acquire(rpc: string, request: object): Disposable {
    const wanted = LOCKS[rpc]?.(request as Fields) ?? [];
    const busy = wanted.find(({ key, shared }) => {
      const held = this.#held.get(key);
      return held !== undefined && !(shared && held > 0);
    });
    if (busy !== undefined) {
      throw new KeelsonError('ABORTED', `Cannot do ${rpc}`, {
        reason: `another call on ${busy.key} is under way`,
      });
    }
    for (const { key, shared } of wanted) {
      this.#held.set(key, shared ? (this.#held.get(key) ?? 0) + 1 : -1);
    }
    return { [Symbol.dispose]: () => this.#release(wanted) };
  }

  #release(wanted: readonly Wanted[]): void {
    for (const { key } of wanted) {
      const held = this.#held.get(key) ?? 0;
      if (held > 1) this.#held.set(key, held - 1);
      else this.#held.delete(key);
    }
  }
}
