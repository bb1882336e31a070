import type { Claim, Volume } from '../objects/index.ts';
import { ANNOTATION, FINALIZER } from './annotations.ts';
import {
  annotationOf,
  isDeleting,
  withAnnotations,
  withFinalizer,
  withoutFinalizer,
} from './editing.ts';
import { isFor } from './matching.ts';
import { NOTHING, type Plan, write } from './plan.ts';

type Phase = NonNullable<NonNullable<Volume['status']>['phase']>;

/**
 * The next step of a volume in its life: Available → Bound → Released. `claim` is the one
 * of the name in `claimRef`, if there is one; `inUse` says whether this node still has
 * something of it, which its record is needed to take down. Pure.
 */
export function planVolume(volume: Volume, claim: Claim | undefined, inUse: boolean): Plan {
  const after = next(volume, claim, inUse);
  return after === volume ? NOTHING : write(after);
}

function next(volume: Volume, claim: Claim | undefined, inUse: boolean): Volume {
  const bound = isBound(volume, claim);
  if (isDeleting(volume)) {
    if (bound) return volume;
    const released = volume.spec.claimRef?.uid === undefined ? volume : toPhase(volume, 'Released');
    return inUse ? released : withoutFinalizer(released, FINALIZER.volumeBound);
  }
  const kept = withFinalizer(volume, FINALIZER.volumeBound);
  const reference = volume.spec.claimRef;
  if (bound) return toPhase(kept, 'Bound');
  if (reference?.uid === undefined || reference.uid === '') return toPhase(kept, 'Available');
  if (claim === undefined || !isFor(volume, claim)) return toPhase(kept, 'Released');
  // The claim has yet to take it.
  if (claim.spec.volumeName === undefined || claim.spec.volumeName === volume.metadata.name) {
    return kept;
  }
  // The claim took another one. A volume made for it alone is of no use to others.
  if (annotationOf(volume, ANNOTATION.provisionedBy) !== undefined)
    return toPhase(kept, 'Released');
  if (annotationOf(volume, ANNOTATION.boundByController) === undefined) return kept;
  const { claimRef: _, ...spec } = kept.spec;
  const free = withAnnotations({ ...kept, spec }, { [ANNOTATION.boundByController]: undefined });
  return toPhase(free, 'Available');
}

function isBound(volume: Volume, claim: Claim | undefined): boolean {
  return (
    claim !== undefined &&
    volume.spec.claimRef?.uid === claim.metadata.uid &&
    claim.spec.volumeName === volume.metadata.name
  );
}

function toPhase(volume: Volume, phase: Phase): Volume {
  if (volume.status?.phase === phase) return volume;
  return {
    ...volume,
    status: { ...volume.status, phase, lastPhaseTransitionTime: new Date().toISOString() },
  };
}
