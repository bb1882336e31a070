import type { Logger } from '../../base/index.ts';
import type { DeepPartial } from '../../gen/csi/v1/csi.ts';
import type { RequestOf, ResponseOf, SERVICES } from '../protocol/services.ts';

/** What a driver's method is told beside the request. */
export interface DriverCall {
  /** Such as `CreateVolume`. */
  readonly rpc: string;
  /**
   * Aborts when the driver must end. A caller that gives up does not abort it: by the
   * specification only the inverse call undoes what was begun.
   */
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

type Method<M> = M extends { responseStream: true }
  ? (request: RequestOf<M>, call: DriverCall) => AsyncIterable<DeepPartial<ResponseOf<M>>>
  : (request: RequestOf<M>, call: DriverCall) => Promise<DeepPartial<ResponseOf<M>>>;

/** Calls that the kit answers from what the driver has. */
type Derived =
  | 'getPluginInfo'
  | 'getPluginCapabilities'
  | 'probe'
  | 'controllerGetCapabilities'
  | 'groupControllerGetCapabilities'
  | 'nodeGetCapabilities';

type Methods<S> = { [N in Exclude<keyof S, Derived>]?: Method<S[N]> };

export type ControllerMethods = Methods<(typeof SERVICES)['controller']>;
export type GroupControllerMethods = Methods<(typeof SERVICES)['groupController']>;
export type SnapshotMetadataMethods = Methods<(typeof SERVICES)['snapshotMetadata']>;
export type NodeMethods = Methods<(typeof SERVICES)['node']>;

/** Abilities that the methods alone do not show. All are off unless said. */
export interface Features {
  /** CLONE_VOLUME: `createVolume` takes a volume as its source. */
  readonly cloneVolume?: boolean;
  /** PUBLISH_READONLY: `controllerPublishVolume` heeds `readonly`. */
  readonly publishReadonly?: boolean;
  /** LIST_VOLUMES_PUBLISHED_NODES. */
  readonly publishedNodes?: boolean;
  /** VOLUME_CONDITION of the controller and the node. */
  readonly volumeCondition?: boolean;
  /** SINGLE_NODE_MULTI_WRITER of the controller and the node: the two newer access modes. */
  readonly singleNodeMultiWriter?: boolean;
  /** VOLUME_MOUNT_GROUP. */
  readonly volumeMountGroup?: boolean;
  /** VOLUME_ACCESSIBILITY_CONSTRAINTS: `nodeGetInfo` answers a topology. */
  readonly topology?: boolean;
  /** How volumes are expanded. Needed by drivers that do. */
  readonly expansion?: 'ONLINE' | 'OFFLINE';
  /** Ephemeral inline volumes: `nodePublishVolume` makes them, without staging. */
  readonly ephemeral?: boolean;
}

/**
 * A CSI driver: the methods that it has, named as the calls of the specification, with
 * answers as far as they differ from the defaults. Everything else follows from them; see
 * `serveDriver`. A method fails with a KeelsonError whose code is the gRPC status; any
 * other error becomes INTERNAL.
 */
export interface CsiDriver
  extends ControllerMethods,
    GroupControllerMethods,
    SnapshotMetadataMethods,
    NodeMethods {
  /** Such as `tmpfs.example.com`: at most 63 characters. */
  readonly name: string;
  readonly version: string;
  readonly manifest?: Readonly<Record<string, string>>;
  readonly features?: Features;
  /** Whether the driver is ready. Left out: as soon as it listens. */
  ready?(signal: AbortSignal): Promise<boolean>;
}
