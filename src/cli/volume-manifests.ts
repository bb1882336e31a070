/** What `keelson volume create` can say of a claim. */
export interface ClaimOptions {
  readonly namespace: string;
  readonly size: string;
  readonly class?: string;
  readonly mode: string;
  readonly block?: boolean;
  /** A claim, or `snapshot/NAME`. */
  readonly from?: string;
  readonly volume?: string;
}

export function claimManifest(name: string, options: ClaimOptions): object {
  const { namespace, size, mode, block, from, volume } = options;
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name, namespace },
    spec: {
      accessModes: [mode],
      resources: { requests: { storage: size } },
      ...(options.class === undefined ? {} : { storageClassName: options.class }),
      ...(block ? { volumeMode: 'Block' } : {}),
      ...(from === undefined ? {} : { dataSource: sourceOf(from) }),
      ...(volume === undefined ? {} : { volumeName: volume }),
    },
  };
}

function sourceOf(from: string): object {
  return from.startsWith('snapshot/')
    ? {
        apiGroup: 'snapshot.storage.k8s.io',
        kind: 'VolumeSnapshot',
        name: from.slice('snapshot/'.length),
      }
    : { kind: 'PersistentVolumeClaim', name: from.replace(/^claim\//, '') };
}

export function snapshotManifest(
  name: string,
  claim: string,
  options: { readonly namespace: string; readonly class?: string },
): object {
  return {
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshot',
    metadata: { name, namespace: options.namespace },
    spec: {
      source: { persistentVolumeClaimName: claim },
      ...(options.class === undefined ? {} : { volumeSnapshotClassName: options.class }),
    },
  };
}
