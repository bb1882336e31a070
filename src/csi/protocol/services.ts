import * as csi from '../../gen/csi/v1/csi.ts';

/** The services of the specification under the names that `CsiClient` has for them. */
export const SERVICES = {
  identity: csi.IdentityService,
  controller: csi.ControllerService,
  groupController: csi.GroupControllerService,
  snapshotMetadata: csi.SnapshotMetadataService,
  node: csi.NodeService,
} as const;

export type RequestOf<M> = M extends { requestSerialize: (value: infer T) => Buffer } ? T : never;
export type ResponseOf<M> = M extends { responseDeserialize: (bytes: Buffer) => infer T }
  ? T
  : never;

/** The name of a call, such as `CreateVolume`, from its path on the wire. */
export function rpcOf(method: { readonly path: string }): string {
  return method.path.slice(method.path.lastIndexOf('/') + 1);
}

/** The answer of a call with its message's defaults where `partial` says nothing. */
export function completeResponse(rpc: string, partial: object): object {
  const message = (csi as unknown as Record<string, csi.MessageFns<object>>)[`${rpc}Response`];
  return message === undefined ? partial : message.fromPartial(partial);
}
