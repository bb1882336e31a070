import { isDeepStrictEqual } from 'node:util';
import { during, Flights, KeelsonError, messageOf } from '../../base/index.ts';
import { ANNOTATION, isDeleting, withAnnotations } from '../controllers/index.ts';
import {
  type Claim,
  type Manifest,
  type Publication,
  type Ref,
  refOf,
  type Stored,
  type Volume,
} from '../objects/index.ts';
import { attachVolume } from './attach.ts';
import { expandOnNode } from './expand.ts';
import type { NodeParts } from './node-parts.ts';
import { publishVolume } from './publish.ts';
import {
  boundVolume,
  checkLimit,
  claimPublication,
  hasConsumer,
  type InlineUse,
  inlinePublication,
  type VolumeUse,
} from './requests.ts';
import { stageVolume } from './stage.ts';
import { untilChanged } from './until-changed.ts';

type PublicationRef = Ref<'VolumePublication'>;

/**
 * The volumes of pods on this node. What a pod is to have is recorded first, then attached,
 * staged, published; `release` says that it goes, and the node controller takes it down.
 */
export class NodeVolumes {
  readonly #parts: NodeParts;
  readonly #flights = new Flights<Publication>();

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  /**
   * Makes the volume of a claim ready in a pod and answers where it is. Waits for the claim
   * to be bound. Asked again, it joins what is under way, or finds it done.
   */
  async publishClaim(
    ref: Ref<'PersistentVolumeClaim'>,
    use: VolumeUse,
    signal: AbortSignal,
  ): Promise<Publication> {
    const bound = await this.#bound(ref, signal);
    return this.#publish(claimPublication(this.#parts, bound, use), bound.volume, signal);
  }

  /** The same for a volume that the pod brings itself. */
  publishInline(use: InlineUse, signal: AbortSignal): Promise<Publication> {
    return this.#publish(inlinePublication(this.#parts, use), undefined, signal);
  }

  /** What a pod has, or is about to have or to lose. */
  ofPod(uid: string): Publication[] {
    return this.#parts.store.list('VolumePublication').filter(({ spec }) => spec.pod.uid === uid);
  }

  /** Takes all volumes from a pod. Resolves when that is decided, not when it is done. */
  async release(podUid: string): Promise<void> {
    for (const publication of this.ofPod(podUid)) await this.#release(publication);
  }

  /** Resolves when a pod has no volume any more. */
  async released(podUid: string, signal: AbortSignal): Promise<void> {
    for (const publication of this.ofPod(podUid)) await this.#gone(publication, signal);
  }

  /** Grows what is here of a volume. */
  async expand(volume: Volume, signal: AbortSignal): Promise<boolean> {
    const { driver, volumeHandle } = volume.spec.csi;
    using _lock = await this.#parts.drivers.lock(driver, volumeHandle, signal);
    return await expandOnNode(this.#parts, volume, signal);
  }

  async #bound(
    ref: Ref<'PersistentVolumeClaim'>,
    signal: AbortSignal,
  ): Promise<{ claim: Claim; volume: Volume }> {
    const { store, node, events } = this.#parts;
    if (!hasConsumer(store.get(ref))) {
      const selected = { [ANNOTATION.selectedNode]: node().name };
      await store.change(ref, (claim) => withAnnotations(claim, selected));
    }
    for (;;) {
      const claim = store.get(ref);
      const volume = boundVolume(this.#parts, claim);
      if (volume !== undefined) return { claim, volume };
      try {
        await untilChanged(store, ref, claim, signal);
      } catch (error) {
        const last = events.of(refOf(claim as Stored)).at(-1);
        throw new KeelsonError('DEADLINE_EXCEEDED', `Cannot use claim "${claim.metadata.name}"`, {
          reason: `it has no volume yet${last === undefined ? '' : `: ${last.message}`}`,
          cause: error,
        });
      }
    }
  }

  async #publish(
    wanted: Manifest<'VolumePublication'>,
    volume: Volume | undefined,
    signal: AbortSignal,
  ): Promise<Publication> {
    const { store } = this.#parts;
    const ref: PublicationRef = { kind: 'VolumePublication', name: wanted.metadata.name };
    return this.#flights.join(ref.name, signal, async (flight) => {
      let before = store.find(ref);
      if (before?.status.phase === 'Published' && isSame(before, wanted)) return before;
      // What an attempt before left is taken down first.
      if (before?.status.phase === 'Preparing') await this.#release(before);
      before = store.find(ref);
      if (before?.status.phase === 'Published') {
        throw new KeelsonError('ALREADY_EXISTS', `Cannot use volume "${wanted.spec.volumeName}"`, {
          reason: 'the pod has it already, in another way',
        });
      }
      if (before !== undefined) await this.#gone(before, flight);
      checkLimit(this.#parts, wanted);
      const publication = await store.create<'VolumePublication'>(wanted);
      try {
        return await this.#bring(publication, volume, flight);
      } catch (error) {
        await this.#release(publication);
        const { volumeName, pod } = wanted.spec;
        throw during(`Cannot give volume "${volumeName}" to pod "${pod.name}"`, error);
      }
    });
  }

  async #bring(
    publication: Publication,
    volume: Volume | undefined,
    signal: AbortSignal,
  ): Promise<Publication> {
    const { drivers, store } = this.#parts;
    const { driver: name, volumeHandle, mountOptions, fsGroup } = publication.spec;
    const publishContext =
      volume === undefined ? {} : await attachVolume(this.#parts, volume, signal);
    using _lock = await drivers.lock(name, volumeHandle, signal);
    const driver = drivers.get(name);
    const stagingPath =
      volume === undefined
        ? undefined
        : await stageVolume(this.#parts, {
            ...{ driver, volume, publishContext, mountOptions, signal },
            mountGroup: fsGroup,
          });
    await publishVolume(this.#parts, {
      ...{ driver, publication, volume, publishContext, stagingPath, signal },
    });
    const done = await store.change<'VolumePublication'>(
      refOf(publication) as PublicationRef,
      (current) =>
        current.status.phase === 'Preparing'
          ? { ...current, status: { phase: 'Published' } }
          : current,
    );
    if (done.status.phase !== 'Published') {
      throw new KeelsonError('ABORTED', `Cannot use volume "${publication.spec.volumeName}"`, {
        reason: 'the pod was removed meanwhile',
      });
    }
    if (volume !== undefined) await this.#grow(volume, signal);
    return done;
  }

  /** A volume that cannot be grown is still one: the resizer goes on trying. */
  async #grow(volume: Volume, signal: AbortSignal): Promise<void> {
    try {
      await expandOnNode(this.#parts, volume, signal);
    } catch (error) {
      const ref = refOf(volume as Stored);
      this.#parts.events.add(ref, 'Warning', 'VolumeResizeFailed', messageOf(error));
    }
  }

  async #release(publication: Publication): Promise<void> {
    const ref = refOf(publication) as PublicationRef;
    await this.#parts.store.changeIfThere(ref, (current) =>
      current.metadata.uid !== publication.metadata.uid || isDeleting(current)
        ? current
        : { ...current, status: { ...current.status, phase: 'Releasing' } },
    );
  }

  async #gone(publication: Publication, signal: AbortSignal): Promise<void> {
    const { store } = this.#parts;
    const ref = refOf(publication) as PublicationRef;
    for (;;) {
      const current = store.find(ref);
      if (current === undefined || current.metadata.uid !== publication.metadata.uid) return;
      try {
        await untilChanged(store, ref, current, signal);
      } catch (error) {
        const reason = store.find(ref)?.status.error;
        throw new KeelsonError(
          'DEADLINE_EXCEEDED',
          `Volume "${publication.spec.volumeName}" has yet to leave pod "${publication.spec.pod.name}"`,
          { ...(reason === undefined ? {} : { reason }), cause: error },
        );
      }
    }
  }
}

/** Asked for the same again; the phase does not count. */
function isSame(publication: Publication, wanted: Manifest<'VolumePublication'>): boolean {
  // As it is stored: without what is undefined.
  return isDeepStrictEqual(publication.spec, JSON.parse(JSON.stringify(wanted.spec)));
}
