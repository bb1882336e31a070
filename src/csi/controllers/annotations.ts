/** Annotations and finalizers of Kubernetes' own controllers, with the meaning they have there. */
export const ANNOTATION = {
  /** The binder chose the volume, not the user: it may undo the choice. */
  boundByController: 'pv.kubernetes.io/bound-by-controller',
  bindCompleted: 'pv.kubernetes.io/bind-completed',
  /** The driver that made the volume. */
  provisionedBy: 'pv.kubernetes.io/provisioned-by',
  /** The driver that is to make a volume for the claim. */
  provisioner: 'volume.kubernetes.io/storage-provisioner',
  /** The node of the first consumer. */
  selectedNode: 'volume.kubernetes.io/selected-node',
  deletionSecretName: 'volume.kubernetes.io/provisioner-deletion-secret-name',
  deletionSecretNamespace: 'volume.kubernetes.io/provisioner-deletion-secret-namespace',
  /** The node id that a volume was published with: the driver may have another one later. */
  nodeId: 'csi.alpha.kubernetes.io/node-id',
  snapshotSecretName: 'snapshot.storage.kubernetes.io/deletion-secret-name',
  snapshotSecretNamespace: 'snapshot.storage.kubernetes.io/deletion-secret-namespace',
  /** Keelson's own: what CreateVolume was asked, so that it can be asked the same again. */
  provisioning: 'storage.keelson/provisioning',
  /** Keelson's own: what CreateSnapshot is asked. */
  snapshotting: 'storage.keelson/snapshotting',
  /** CreateSnapshot was called, and what came of it is not known yet. */
  snapshotBeingCreated: 'snapshot.storage.kubernetes.io/volumesnapshot-being-created',
  /** Keelson's own: bytes that NodeExpandVolume has yet to grow a volume to. */
  nodeExpansion: 'storage.keelson/node-expansion',
} as const;

export const FINALIZER = {
  claimInUse: 'kubernetes.io/pvc-protection',
  volumeBound: 'kubernetes.io/pv-protection',
  /** The volume is deleted by its driver before the object goes. */
  provisioned: 'external-provisioner.volume.kubernetes.io/finalizer',
  /** Keelson's own: CreateVolume may have made something that no object names yet. */
  provisioning: 'storage.keelson/provisioning',
  attached: 'external-attacher/keelson',
  snapshotBound: 'snapshot.storage.kubernetes.io/volumesnapshot-bound-protection',
  contentBound: 'snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection',
} as const;
