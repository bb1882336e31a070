import { type Claim, type Ref, refOf, type Stored, type Volume } from '../objects/index.ts';
import type { Change } from '../store/index.ts';
import { planClaim } from './bind-claim.ts';
import { planVolume } from './bind-volume.ts';
import type { ControllerParts } from './controller.ts';
import { type Plan, writePlanned } from './plan.ts';
import { Reconciler } from './reconciler.ts';
import { isClaimInUse, isVolumeInUse } from './usage.ts';

/** Claims and volumes that are worked on at the same time. */
const WORKERS = 8;

/**
 * Brings claims and volumes together, by the rules of Kubernetes' own binder: watches both,
 * plans one step, writes it, and plans again when that comes back as a change.
 */
export class Binder implements AsyncDisposable {
  readonly #parts: ControllerParts;
  readonly #reconciler: Reconciler;
  readonly #watch: Disposable;

  constructor(parts: ControllerParts) {
    this.#parts = parts;
    this.#reconciler = new Reconciler({
      name: 'binder',
      logger: parts.logger,
      backOff: parts.backOff,
      workers: WORKERS,
      reconcile: (key) => this.#reconcile(key),
    });
    this.#watch = parts.store.watch((change) => this.#changed(change));
    this.resync();
  }

  /** Looks at everything again, as at the start. */
  resync(): void {
    for (const { metadata } of this.#parts.store.list('PersistentVolume')) {
      this.#reconciler.enqueue(`volume/${metadata.name}`);
    }
    for (const claim of this.#parts.store.list('PersistentVolumeClaim')) this.#enqueueClaim(claim);
  }

  get isIdle(): boolean {
    return this.#reconciler.isIdle;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watch[Symbol.dispose]();
    await this.#reconciler[Symbol.asyncDispose]();
  }

  #enqueueClaim({
    metadata,
  }: {
    metadata: { name: string; namespace?: string | undefined };
  }): void {
    this.#reconciler.enqueue(`claim/${metadata.namespace ?? 'default'}/${metadata.name}`);
  }

  #changed({ object, type }: Change): void {
    if (object.kind === 'PersistentVolumeClaim') this.#claimChanged(object);
    else if (object.kind === 'PersistentVolume') this.#volumeChanged(object);
    else if (object.kind === 'StorageClass') this.#pendingClaims();
    else if (object.kind === 'VolumeSnapshotContent') this.#deletingClaims();
    else if (type === 'deleted') this.#released(object);
  }

  /** Something of a volume has gone from this node: it may be what a deletion waits for. */
  #released(object: Stored): void {
    if (object.kind === 'VolumeAttachment') {
      this.#reconciler.enqueue(`volume/${object.spec.source.persistentVolumeName}`);
    }
    if (object.kind !== 'VolumePublication' && object.kind !== 'VolumeStage') return;
    this.#reconciler.enqueue(`volume/${object.spec.volumeName}`);
    if (object.kind === 'VolumePublication' && object.spec.claim !== undefined) {
      this.#enqueueClaim({ metadata: object.spec.claim });
    }
  }

  #claimChanged(claim: Claim): void {
    this.#enqueueClaim(claim);
    const { name, namespace } = claim.metadata;
    for (const { metadata, spec } of this.#parts.store.list('PersistentVolume')) {
      const meant = spec.claimRef?.name === name && spec.claimRef.namespace === namespace;
      if (meant || metadata.name === claim.spec.volumeName) {
        this.#reconciler.enqueue(`volume/${metadata.name}`);
      }
    }
    this.#deletingClaims();
  }

  #volumeChanged(volume: Volume): void {
    this.#reconciler.enqueue(`volume/${volume.metadata.name}`);
    const { claimRef } = volume.spec;
    if (claimRef !== undefined) this.#enqueueClaim({ metadata: claimRef });
    if (volume.status?.phase === 'Available' || claimRef === undefined) this.#pendingClaims();
    for (const claim of this.#parts.store.list('PersistentVolumeClaim')) {
      if (claim.spec.volumeName === volume.metadata.name) this.#enqueueClaim(claim);
    }
  }

  #pendingClaims(): void {
    for (const claim of this.#parts.store.list('PersistentVolumeClaim')) {
      if (claim.status?.phase !== 'Bound') this.#enqueueClaim(claim);
    }
  }

  #deletingClaims(): void {
    for (const claim of this.#parts.store.list('PersistentVolumeClaim')) {
      if (claim.metadata.deletionTimestamp !== undefined) this.#enqueueClaim(claim);
    }
  }

  async #reconcile(key: string): Promise<void> {
    const [what, ...rest] = key.split('/');
    if (what === 'volume') return this.#reconcileVolume(rest.join('/'));
    const [namespace = '', name = ''] = rest;
    return this.#reconcileClaim({ kind: 'PersistentVolumeClaim', namespace, name });
  }

  async #reconcileClaim(ref: Ref<'PersistentVolumeClaim'>): Promise<void> {
    const { store, node } = this.#parts;
    const claim = store.find(ref);
    if (claim === undefined) return;
    const plan = planClaim(claim, {
      classes: store.list('StorageClass'),
      volumes: store.list('PersistentVolume'),
      node: node(),
      inUse: (each) => isClaimInUse(store, each),
    });
    await this.#act(claim, plan);
  }

  async #reconcileVolume(name: string): Promise<void> {
    const { store } = this.#parts;
    const volume = store.find({ kind: 'PersistentVolume', name });
    if (volume === undefined) return;
    const { claimRef } = volume.spec;
    const claim =
      claimRef === undefined
        ? undefined
        : store.find({
            kind: 'PersistentVolumeClaim',
            name: claimRef.name,
            namespace: claimRef.namespace,
          });
    await this.#act(volume, planVolume(volume, claim, isVolumeInUse(store, volume)));
  }

  async #act(object: Stored, plan: Plan): Promise<void> {
    const { store, events } = this.#parts;
    if (plan.do === 'write') await writePlanned(store, plan.object);
    if (plan.do === 'wait') events.add(refOf(object), 'Normal', plan.reason, plan.message);
  }
}
