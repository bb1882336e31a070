import { codeOf, KeelsonError, messageOf } from '../../base/index.ts';
import {
  CreateVolumeRequest,
  type Volume as CsiVolume,
  DeleteVolumeRequest,
} from '../../gen/csi/v1/csi.ts';
import {
  type Claim,
  formatQuantity,
  type Manifest,
  parseObject,
  type SecretReference,
} from '../objects/index.ts';
import { CsiError } from '../protocol/index.ts';
import type { Driver } from '../registration/index.ts';
import { affinityOf, capabilityOf, type SecretReader } from '../requests/index.ts';
import { ANNOTATION, FINALIZER } from './annotations.ts';
import { type ProvisioningIntent, volumeNameFor } from './provisioning-intent.ts';

export interface Making {
  readonly driver: Driver;
  readonly secrets: SecretReader;
  readonly claim: Claim;
  readonly intent: ProvisioningIntent;
  readonly signal: AbortSignal;
}

/**
 * Makes the volume of a claim and answers the PV for it. May be called again with the same
 * intent after any failure. A volume that is not what was asked for is deleted again before
 * this fails.
 */
export async function createVolume(making: Making): Promise<Manifest<'PersistentVolume'>> {
  const { driver, secrets, claim, intent, signal } = making;
  const request = requestOf(
    driver,
    claim,
    intent,
    await secrets.read(intent.secrets['provisioner']),
  );
  const { volume } = await driver.client.controller.createVolume(request, { signal });
  const action = `Cannot use volume "${request.name}" that driver "${driver.name}" made`;
  try {
    if (volume === undefined) throw new KeelsonError('INTERNAL', action);
    check(volume, intent, action);
    return volumeOf(claim, intent, volume);
  } catch (error) {
    if (volume === undefined) throw error;
    await discard(making, volume.volumeId, error);
    // It is known now that nothing is left of it.
    throw new CsiError(codeOf(error), messageOf(error), true, {
      reason: 'it is deleted again',
      cause: error,
    });
  }
}

async function discard(
  { driver, secrets, intent, signal }: Making,
  volumeId: string,
  why: unknown,
): Promise<void> {
  try {
    const request = { volumeId, secrets: await secrets.read(intent.secrets['provisioner']) };
    const { controller } = driver.client;
    await controller.deleteVolume(DeleteVolumeRequest.fromPartial(request), { signal });
  } catch (cause) {
    // Not as its cause: whatever the driver says of that, the volume may still be there.
    throw new KeelsonError('INTERNAL', messageOf(why), {
      reason: `and it cannot be deleted again: ${messageOf(cause)}`,
    });
  }
}

function requestOf(
  driver: Driver,
  claim: Claim,
  intent: ProvisioningIntent,
  secrets: Record<string, string>,
): CreateVolumeRequest {
  const { volumeMode, fsType, mountOptions, topology } = intent;
  const options = { singleNodeModes: driver.can('SINGLE_NODE_MULTI_WRITER') };
  const segments = topology === undefined ? undefined : [{ segments: topology }];
  return CreateVolumeRequest.fromPartial({
    name: volumeNameFor(claim),
    capacityRange: {
      requiredBytes: BigInt(intent.requiredBytes),
      limitBytes: BigInt(intent.limitBytes),
    },
    volumeCapabilities: intent.accessModes.map((accessMode) =>
      capabilityOf({ volumeMode, accessMode, fsType, mountOptions }, options),
    ),
    parameters: intent.parameters,
    secrets,
    ...(intent.source === undefined ? {} : { volumeContentSource: sourceOf(intent.source) }),
    ...(segments === undefined
      ? {}
      : { accessibilityRequirements: { requisite: segments, preferred: segments } }),
  });
}

function sourceOf(source: NonNullable<ProvisioningIntent['source']>) {
  const type =
    'snapshotId' in source
      ? { $case: 'snapshot' as const, value: { snapshotId: source.snapshotId } }
      : { $case: 'volume' as const, value: { volumeId: source.volumeId } };
  return { type };
}

/** Whether the driver did what it was asked for. */
function check(volume: CsiVolume, intent: ProvisioningIntent, action: string): void {
  const { capacityBytes } = volume;
  if (capacityBytes !== 0n && capacityBytes < BigInt(intent.requiredBytes)) {
    throw new KeelsonError('OUT_OF_RANGE', action, {
      reason: `it has ${capacityBytes} bytes, ${intent.requiredBytes} were asked for`,
    });
  }
  if (intent.limitBytes !== 0 && capacityBytes > BigInt(intent.limitBytes)) {
    throw new KeelsonError('OUT_OF_RANGE', action, {
      reason: `it has ${capacityBytes} bytes, at most ${intent.limitBytes} were asked for`,
    });
  }
  if (intent.source !== undefined && volume.contentSource === undefined) {
    throw new KeelsonError('INTERNAL', action, {
      reason: 'it does not say that it has the content of its source',
    });
  }
}

function volumeOf(
  claim: Claim,
  intent: ProvisioningIntent,
  volume: CsiVolume,
): Manifest<'PersistentVolume'> {
  const capacity =
    volume.capacityBytes === 0n ? intent.requiredBytes : Number(volume.capacityBytes);
  const { secrets } = intent;
  const nodeAffinity = affinityOf(volume.accessibleTopology);
  return parseObject('PersistentVolume', {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: {
      name: volumeNameFor(claim),
      annotations: {
        [ANNOTATION.provisionedBy]: intent.driver,
        ...deletionSecret(secrets['provisioner']),
      },
      ...(intent.reclaimPolicy === 'Delete' ? { finalizers: [FINALIZER.provisioned] } : {}),
    },
    spec: {
      capacity: { storage: formatQuantity(capacity) },
      accessModes: [...intent.accessModes],
      volumeMode: intent.volumeMode,
      persistentVolumeReclaimPolicy: intent.reclaimPolicy,
      storageClassName: intent.storageClass,
      ...(intent.mountOptions === undefined ? {} : { mountOptions: intent.mountOptions }),
      ...(nodeAffinity === undefined ? {} : { nodeAffinity }),
      claimRef: {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        namespace: claim.metadata.namespace,
        name: claim.metadata.name,
        uid: claim.metadata.uid,
      },
      csi: {
        driver: intent.driver,
        volumeHandle: volume.volumeId,
        ...(intent.fsType === undefined ? {} : { fsType: intent.fsType }),
        volumeAttributes: volume.volumeContext,
        ...reference('controllerPublishSecretRef', secrets['controller-publish']),
        ...reference('nodeStageSecretRef', secrets['node-stage']),
        ...reference('nodePublishSecretRef', secrets['node-publish']),
        ...reference('controllerExpandSecretRef', secrets['controller-expand']),
        ...reference('nodeExpandSecretRef', secrets['node-expand']),
      },
    },
  });
}

function reference(field: string, secret: SecretReference | undefined): object {
  return secret === undefined ? {} : { [field]: secret };
}

function deletionSecret(secret: SecretReference | undefined): Record<string, string> {
  if (secret === undefined) return {};
  return {
    [ANNOTATION.deletionSecretName]: secret.name,
    [ANNOTATION.deletionSecretNamespace]: secret.namespace,
  };
}
