import type { Claim, Ref, Stored } from '../objects/index.ts';
import { refOf } from '../objects/index.ts';
import { outcomeOf } from '../protocol/index.ts';
import type { Driver } from '../registration/index.ts';
import type { Change } from '../store/index.ts';
import type { DriverControllerParts } from './controller.ts';
import { createVolume } from './create-volume.ts';
import { DriverController } from './driver-controller.ts';
import { writePlanned } from './plan.ts';
import {
  type ProvisioningDriver,
  type ProvisioningView,
  planProvisioning,
} from './plan-provisioning.ts';
import {
  intentOf,
  type ProvisioningIntent,
  volumeNameFor,
  withIntent,
  withoutIntent,
} from './provisioning-intent.ts';

export interface ProvisionerParts extends DriverControllerParts {
  /** Tells drivers the names of claim and volume (external-provisioner's --extra-create-metadata). */
  readonly extraMetadata: boolean;
}

/** Makes volumes for claims that no volume fits (external-provisioner's job). */
export class Provisioner extends DriverController {
  constructor(parts: ProvisionerParts) {
    super(parts, {
      name: 'provisioner',
      failure: 'ProvisioningFailed',
      concerns: (change) => concerns(parts, change),
      all: () => parts.store.list('PersistentVolumeClaim'),
      reconcile: (ref, signal) => reconcile(parts, ref as Ref<'PersistentVolumeClaim'>, signal),
    });
  }
}

/** Sources of content may become ready: claims that wait for one are few. */
function concerns({ store }: ProvisionerParts, { object }: Change): Ref[] {
  if (object.kind === 'PersistentVolumeClaim') {
    return [refOf(object), ...waiting(store.list('PersistentVolumeClaim'), object.metadata.name)];
  }
  if (object.kind === 'VolumeSnapshot') {
    return waiting(store.list('PersistentVolumeClaim'), object.metadata.name);
  }
  const { kind } = object;
  const matters = kind === 'StorageClass' || kind === 'PersistentVolume';
  return matters ? waiting(store.list('PersistentVolumeClaim')) : [];
}

function waiting(claims: readonly Claim[], source?: string): Ref[] {
  return claims
    .filter(({ spec, status }) => {
      const { name } = spec.dataSourceRef ?? spec.dataSource ?? {};
      return status?.phase !== 'Bound' && (source === undefined || name === source);
    })
    .map((claim) => refOf(claim as Stored));
}

async function reconcile(
  parts: ProvisionerParts,
  ref: Ref<'PersistentVolumeClaim'>,
  signal: AbortSignal,
): Promise<void> {
  const { store, events, drivers } = parts;
  const claim = store.find(ref);
  if (claim === undefined) return;
  const intent = intentOf(claim);
  if (intent !== undefined) return make(parts, claim, intent, signal);
  // It has been made, and the binder is about to give it to the claim.
  if (store.find({ kind: 'PersistentVolume', name: volumeNameFor(claim) }) !== undefined) return;
  const plan = planProvisioning(claim, viewOf(parts, claim));
  if (plan.do === 'wait') events.add(ref, 'Warning', plan.reason, plan.message);
  if (plan.do !== 'intend') return;
  // What would keep the first call from being made is better known before there is an intent.
  drivers.get(plan.intent.driver);
  await parts.secrets.read(plan.intent.secrets['provisioner']);
  await writePlanned(store, withIntent(claim, plan.intent));
}

/** Calls the driver until it is known what became of the intent, and then drops that. */
async function make(
  parts: ProvisionerParts,
  claim: Claim,
  intent: ProvisioningIntent,
  signal: AbortSignal,
): Promise<void> {
  const { store, drivers, secrets, events } = parts;
  const name = volumeNameFor(claim);
  if (store.find({ kind: 'PersistentVolume', name }) === undefined) {
    using _lock = await drivers.lock(intent.driver, name, signal);
    const driver = drivers.get(intent.driver);
    try {
      const volume = await createVolume({ driver, secrets, claim, intent, signal });
      await store.create<'PersistentVolume'>(volume);
      const message = `driver "${driver.name}" has made volume "${name}"`;
      events.add(refOf(claim as Stored), 'Normal', 'ProvisioningSucceeded', message);
    } catch (error) {
      // Nothing was made: the next attempt may ask for something else.
      if (outcomeOf(error) === 'failed') await dropIntent(parts, claim);
      throw error;
    }
  }
  await dropIntent(parts, claim);
}

async function dropIntent({ store }: ProvisionerParts, claim: Claim): Promise<void> {
  const ref: Ref<'PersistentVolumeClaim'> = { ...refOf(claim), kind: 'PersistentVolumeClaim' };
  await store.changeIfThere(ref, (current) =>
    current.metadata.uid === claim.metadata.uid ? withoutIntent(current) : current,
  );
}

function viewOf(
  { store, drivers, extraMetadata }: ProvisionerParts,
  claim: Claim,
): ProvisioningView {
  const className = claim.spec.storageClassName ?? '';
  const storageClass =
    className === '' ? undefined : store.find({ kind: 'StorageClass', name: className });
  const driver = storageClass === undefined ? undefined : drivers.find(storageClass.provisioner);
  const { namespace } = claim.metadata;
  return {
    driver: driver === undefined ? undefined : abilities(driver),
    storageClass,
    extraMetadata,
    claim: (name) => {
      const found = store.find({ kind: 'PersistentVolumeClaim', name, namespace });
      if (found === undefined) return undefined;
      const { volumeName } = found.spec;
      const volume =
        volumeName === undefined
          ? undefined
          : store.find({ kind: 'PersistentVolume', name: volumeName });
      return { claim: found, volume };
    },
    snapshot: (name) => {
      const snapshot = store.find({ kind: 'VolumeSnapshot', name, namespace });
      if (snapshot === undefined) return undefined;
      const bound = snapshot.status?.boundVolumeSnapshotContentName;
      const content =
        bound === undefined
          ? undefined
          : store.find({ kind: 'VolumeSnapshotContent', name: bound });
      return { snapshot, content };
    },
  };
}

function abilities(driver: Driver): ProvisioningDriver {
  const { plugin, node } = driver.description;
  const topological = plugin.includes('VOLUME_ACCESSIBILITY_CONSTRAINTS');
  return {
    canCreate: driver.can('CREATE_DELETE_VOLUME'),
    canClone: driver.can('CLONE_VOLUME'),
    canRestore: driver.can('CREATE_DELETE_SNAPSHOT'),
    topology: topological ? (node?.topology ?? {}) : undefined,
  };
}
