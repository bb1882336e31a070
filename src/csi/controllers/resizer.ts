import { KeelsonError } from '../../base/index.ts';
import { ControllerExpandVolumeRequest } from '../../gen/csi/v1/csi.ts';
import {
  bytesOf,
  type Claim,
  formatQuantity,
  type Ref,
  refOf,
  type StorageClass,
  type Stored,
  type Volume,
} from '../objects/index.ts';
import type { Driver } from '../registration/index.ts';
import { capabilityOf } from '../requests/index.ts';
import { ANNOTATION } from './annotations.ts';
import type { DriverControllerParts } from './controller.ts';
import { DriverController } from './driver-controller.ts';
import {
  annotationOf,
  isDeleting,
  withAnnotations,
  withCondition,
  withoutCondition,
} from './editing.ts';
import { isVolumeInUse } from './usage.ts';

type ClaimRef = Ref<'PersistentVolumeClaim'>;

/** Grows what of a volume is on this node. */
export interface NodeExpander {
  /** False when the volume is not staged or published here: it is grown when it will be. */
  expand(volume: Volume, signal: AbortSignal): Promise<boolean>;
}

export interface ResizerParts extends DriverControllerParts {
  readonly node: DriverControllerParts['node'];
  readonly expander: NodeExpander;
}

export interface ResizeView {
  readonly volume: Volume | undefined;
  readonly storageClass: StorageClass | undefined;
  readonly driver:
    | { readonly controller: boolean; readonly node: boolean; readonly onlyOffline: boolean }
    | undefined;
  readonly inUse: boolean;
}

export type ResizePlan =
  | { readonly do: 'nothing' }
  | { readonly do: 'fail'; readonly message: string }
  /** At the driver, or only noted where nothing but the node can grow it. */
  | { readonly do: 'expand'; readonly bytes: number; readonly by: 'controller' | 'node' }
  | { readonly do: 'expand-on-node' }
  | { readonly do: 'finish' };

/** The next step of a claim that asks for more than it has. Pure. */
export function planResize(claim: Claim, view: ResizeView): ResizePlan {
  const { volume, storageClass, driver, inUse } = view;
  if (claim.status?.phase !== 'Bound' || volume === undefined || isDeleting(claim)) {
    return { do: 'nothing' };
  }
  const wanted = bytesOf(claim.spec.resources.requests.storage);
  const capacity = bytesOf(volume.spec.capacity.storage);
  if (wanted > capacity) {
    const fail = (message: string): ResizePlan => ({ do: 'fail', message });
    if (storageClass?.allowVolumeExpansion !== true) {
      return fail('its class does not say allowVolumeExpansion: true');
    }
    if (driver === undefined) return fail(`driver "${volume.spec.csi.driver}" is not registered`);
    if (!driver.controller && !driver.node) return fail('its driver cannot expand volumes');
    if (driver.onlyOffline && inUse) {
      return fail('its driver expands volumes only while no pod uses them');
    }
    return { do: 'expand', bytes: wanted, by: driver.controller ? 'controller' : 'node' };
  }
  if (annotationOf(volume, ANNOTATION.nodeExpansion) !== undefined) {
    return inUse ? { do: 'expand-on-node' } : pending(claim);
  }
  const known = bytesOf(claim.status.capacity?.storage ?? '0');
  return known < capacity ? { do: 'finish' } : { do: 'nothing' };
}

/** Nothing to do until a pod uses it, but to say so. */
function pending(claim: Claim): ResizePlan {
  const said = claim.status?.conditions?.some(({ type }) => type === PENDING);
  return said ? { do: 'nothing' } : { do: 'expand-on-node' };
}

const PENDING = 'FileSystemResizePending';

/** Grows volumes whose claims ask for more (external-resizer's job). */
export class Resizer extends DriverController {
  constructor(parts: ResizerParts) {
    const { store } = parts;
    super(parts, {
      name: 'resizer',
      failure: 'VolumeResizeFailed',
      concerns: ({ object }) => {
        if (object.kind === 'PersistentVolumeClaim') return [refOf(object as Stored)];
        if (object.kind === 'PersistentVolume') return claimOf(object);
        if (object.kind === 'StorageClass')
          return store.list('PersistentVolumeClaim').map((claim) => refOf(claim as Stored));
        if (object.kind !== 'VolumePublication' && object.kind !== 'VolumeStage') return [];
        const volume = store.find({ kind: 'PersistentVolume', name: object.spec.volumeName });
        return volume === undefined ? [] : claimOf(volume);
      },
      all: () => store.list('PersistentVolumeClaim'),
      reconcile: (ref, signal) => reconcile(parts, ref as ClaimRef, signal),
    });
  }
}

function claimOf({ spec }: Volume): Ref[] {
  const { claimRef } = spec;
  if (claimRef === undefined) return [];
  return [{ kind: 'PersistentVolumeClaim', name: claimRef.name, namespace: claimRef.namespace }];
}

async function reconcile(parts: ResizerParts, ref: ClaimRef, signal: AbortSignal): Promise<void> {
  const { store, drivers } = parts;
  const claim = store.find(ref);
  const name = claim?.spec.volumeName;
  const volume = name === undefined ? undefined : store.find({ kind: 'PersistentVolume', name });
  if (claim === undefined || volume === undefined) return;
  const { driver: driverName, volumeHandle } = volume.spec.csi;
  const plan = planResize(claim, viewOf(parts, claim, volume));
  switch (plan.do) {
    case 'nothing':
      return;
    case 'fail':
      throw new KeelsonError('FAILED_PRECONDITION', `Cannot expand claim "${ref.name}"`, {
        reason: plan.message,
      });
    case 'expand': {
      using _lock = await drivers.lock(driverName, volumeHandle, signal);
      return expand(parts, { volume, bytes: plan.bytes, by: plan.by }, signal);
    }
    case 'expand-on-node':
      return expandOnNode(parts, ref, volume, signal);
    case 'finish':
      await finish(parts, ref, volume);
  }
}

function viewOf({ store, drivers }: ResizerParts, claim: Claim, volume: Volume): ResizeView {
  const className = claim.spec.storageClassName ?? '';
  const driver = drivers.find(volume.spec.csi.driver);
  return {
    volume,
    storageClass:
      className === '' ? undefined : store.find({ kind: 'StorageClass', name: className }),
    driver: driver === undefined ? undefined : abilities(driver),
    inUse: isVolumeInUse(store, volume),
  };
}

function abilities(driver: Driver) {
  const { expansion } = driver.description;
  return {
    controller: driver.can('EXPAND_VOLUME'),
    node: driver.nodeCan('EXPAND_VOLUME'),
    onlyOffline: expansion.includes('OFFLINE') && !expansion.includes('ONLINE'),
  };
}

interface Expansion {
  volume: Volume;
  bytes: number;
  by: 'controller' | 'node';
}

/** The new size and what the node has yet to do are one write: a crash forgets neither. */
async function expand(
  parts: ResizerParts,
  { volume, bytes, by }: Expansion,
  signal: AbortSignal,
): Promise<void> {
  const grown =
    by === 'controller'
      ? await callController(parts, volume, bytes, signal)
      : { bytes, onNode: true };
  await parts.store.changeIfThere(
    { kind: 'PersistentVolume', name: volume.metadata.name },
    (current) => {
      const larger = {
        ...current,
        spec: { ...current.spec, capacity: { storage: formatQuantity(grown.bytes) } },
      };
      return grown.onNode
        ? withAnnotations(larger, { [ANNOTATION.nodeExpansion]: String(grown.bytes) })
        : larger;
    },
  );
}

async function callController(
  { drivers, secrets }: ResizerParts,
  volume: Volume,
  bytes: number,
  signal: AbortSignal,
): Promise<{ bytes: number; onNode: boolean }> {
  const { csi, volumeMode, accessModes, mountOptions } = volume.spec;
  const driver = drivers.get(csi.driver);
  const [accessMode = 'ReadWriteOnce'] = accessModes;
  const request = ControllerExpandVolumeRequest.fromPartial({
    volumeId: csi.volumeHandle,
    capacityRange: { requiredBytes: BigInt(bytes) },
    secrets: await secrets.read(csi.controllerExpandSecretRef),
    volumeCapability: capabilityOf(
      { volumeMode, accessMode, fsType: csi.fsType, mountOptions },
      { singleNodeModes: driver.can('SINGLE_NODE_MULTI_WRITER') },
    ),
  });
  const answer = await driver.client.controller.controllerExpandVolume(request, { signal });
  if (answer.capacityBytes < BigInt(bytes)) {
    throw new KeelsonError('OUT_OF_RANGE', `Cannot expand volume "${csi.volumeHandle}"`, {
      reason: `driver "${driver.name}" made it ${answer.capacityBytes} bytes, not ${bytes}`,
    });
  }
  const onNode = answer.nodeExpansionRequired && driver.nodeCan('EXPAND_VOLUME');
  return { bytes: Number(answer.capacityBytes), onNode };
}

async function expandOnNode(
  { store, expander }: ResizerParts,
  ref: ClaimRef,
  volume: Volume,
  signal: AbortSignal,
): Promise<void> {
  if (await expander.expand(volume, signal)) return;
  const message = 'the file system grows when a pod uses the volume';
  await store.changeIfThere(ref, (current) => ({
    ...current,
    status: {
      ...current.status,
      conditions: withCondition(current.status?.conditions, {
        type: PENDING,
        status: 'True',
        message,
      }),
    },
  }));
}

async function finish(
  { store, events }: ResizerParts,
  ref: ClaimRef,
  volume: Volume,
): Promise<void> {
  await store.changeIfThere(ref, (current) => ({
    ...current,
    status: {
      ...current.status,
      capacity: volume.spec.capacity,
      conditions: withoutCondition(current.status?.conditions, PENDING),
    },
  }));
  events.add(ref, 'Normal', 'VolumeResizeSuccessful', `it has ${volume.spec.capacity.storage} now`);
}
