import type { Claim, NodeIdentity, StorageClass, Volume } from '../objects/index.ts';
import { ANNOTATION, FINALIZER } from './annotations.ts';
import {
  annotationOf,
  isDeleting,
  withAnnotations,
  withFinalizer,
  withoutFinalizer,
} from './editing.ts';
import { bestMatch, defaultClass, isFor, misfit } from './matching.ts';
import { NOTHING, type Plan, wait, write } from './plan.ts';

/** What the binder looks at. */
export interface BindingView {
  readonly classes: readonly StorageClass[];
  readonly volumes: readonly Volume[];
  readonly node: NodeIdentity;
  /** Whether a pod uses the claim, or something is being made of it. */
  inUse(claim: Claim): boolean;
}

/** Classes of this provisioner are for volumes prepared by hand. */
const NO_PROVISIONER = 'kubernetes.io/no-provisioner';

/** The next step of a claim on its way to a volume. Pure. */
export function planClaim(claim: Claim, view: BindingView): Plan {
  if (isDeleting(claim)) {
    return view.inUse(claim)
      ? wait('InUse', 'it is deleted as soon as nothing uses it')
      : changed(claim, withoutFinalizer(claim, FINALIZER.claimInUse));
  }
  const begun = begin(claim);
  if (begun !== claim) return write(begun);
  if (claim.spec.volumeName !== undefined) return planNamed(claim, claim.spec.volumeName, view);
  return planUnbound(claim, view);
}

function begin(claim: Claim): Claim {
  const kept = withFinalizer(claim, FINALIZER.claimInUse);
  return claim.status?.phase === undefined
    ? { ...kept, status: { ...kept.status, phase: 'Pending' } }
    : kept;
}

/** The claim names its volume: the user chose it, or the binding was begun. */
function planNamed(claim: Claim, name: string, view: BindingView): Plan {
  const volume = view.volumes.find(({ metadata }) => metadata.name === name);
  const completed = annotationOf(claim, ANNOTATION.bindCompleted) !== undefined;
  if (volume === undefined || (completed && !isFor(volume, claim))) {
    if (completed) return changed(claim, withPhase(claim, 'Lost'));
    return wait('FailedBinding', `there is no PersistentVolume "${name}"`);
  }
  if (completed) return changed(claim, withPhase(claim, 'Bound'));
  if (volume.spec.claimRef !== undefined && !isFor(volume, claim)) {
    return wait('FailedBinding', `PersistentVolume "${name}" is bound to another claim`);
  }
  const why = misfit(claim, volume);
  if (why !== undefined) return wait('VolumeMismatch', `cannot bind "${name}": ${why}`);
  return planBinding(claim, volume);
}

function planUnbound(claim: Claim, view: BindingView): Plan {
  if (claim.spec.storageClassName === undefined) {
    const fallback = defaultClass(view.classes)?.metadata.name;
    if (fallback !== undefined) {
      return write({ ...claim, spec: { ...claim.spec, storageClassName: fallback } });
    }
  }
  const own = view.volumes.filter((volume) => isFor(volume, claim) && !isDeleting(volume));
  const fitting = own.find((volume) => misfit(claim, volume) === undefined);
  if (fitting !== undefined) return planBinding(claim, fitting);
  const name = claim.spec.storageClassName ?? '';
  const chosen = view.classes.find(({ metadata }) => metadata.name === name);
  if (chosen?.volumeBindingMode === 'WaitForFirstConsumer' && !hasConsumer(claim)) {
    return wait(
      'WaitForFirstConsumer',
      'the volume is made or bound for the first pod that uses it',
    );
  }
  const best = bestMatch(claim, view.volumes, view.node);
  if (best !== undefined) return planBinding(claim, best);
  return planProvisioning(claim, name, chosen);
}

function hasConsumer(claim: Claim): boolean {
  return annotationOf(claim, ANNOTATION.selectedNode) !== undefined;
}

function planProvisioning(claim: Claim, name: string, chosen: StorageClass | undefined): Plan {
  if (name === '') {
    return wait('FailedBinding', 'no volume fits, and the claim names no storage class');
  }
  if (chosen === undefined) return wait('FailedBinding', `there is no StorageClass "${name}"`);
  if (chosen.provisioner === NO_PROVISIONER) {
    return wait('FailedBinding', `no volume fits, and class "${name}" makes none`);
  }
  if (claim.spec.selector !== undefined) {
    return wait('ProvisioningFailed', 'a claim with a selector takes only volumes that are there');
  }
  const { provisioner } = chosen;
  if (annotationOf(claim, ANNOTATION.provisioner) === provisioner) {
    return wait('ExternalProvisioning', `driver "${provisioner}" is to make the volume`);
  }
  return write(withAnnotations(claim, { [ANNOTATION.provisioner]: provisioner }));
}

/** The volume takes its claim first, then the claim its volume: a crash leaves either order whole. */
function planBinding(claim: Claim, volume: Volume): Plan {
  const { uid, name, namespace } = claim.metadata;
  if (volume.spec.claimRef?.uid !== uid) {
    const chosenByUs = volume.spec.claimRef === undefined && claim.spec.volumeName === undefined;
    const bound = {
      ...volume,
      spec: {
        ...volume.spec,
        claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid },
      },
    };
    return write(
      chosenByUs ? withAnnotations(bound, { [ANNOTATION.boundByController]: 'yes' }) : bound,
    );
  }
  const next = withAnnotations(claim, {
    [ANNOTATION.bindCompleted]: 'yes',
    ...(claim.spec.volumeName === undefined ? { [ANNOTATION.boundByController]: 'yes' } : {}),
  });
  return write({
    ...next,
    spec: { ...next.spec, volumeName: volume.metadata.name },
    status: {
      ...next.status,
      phase: 'Bound',
      accessModes: volume.spec.accessModes,
      capacity: volume.spec.capacity,
    },
  });
}

function withPhase(claim: Claim, phase: 'Bound' | 'Lost'): Claim {
  return claim.status?.phase === phase ? claim : { ...claim, status: { ...claim.status, phase } };
}

function changed(before: Claim, after: Claim): Plan {
  return before === after ? NOTHING : write(after);
}
