import { KeelsonError } from '../../base/index.ts';
import {
  ControllerServiceCapability_RPC_Type as Controller,
  PluginCapability_VolumeExpansion_Type as Expansion,
  GroupControllerServiceCapability_RPC_Type as Group,
  NodeServiceCapability_RPC_Type as Node,
  PluginCapability_Service_Type as Plugin,
} from '../../gen/csi/v1/csi.ts';
import { SERVICES } from '../protocol/services.ts';
import type { CsiDriver, Features } from './driver.ts';

type Name = keyof CsiDriver;

/** The methods that make a capability. Those of one line come together or not at all. */
const CONTROLLER_BY_METHODS: readonly (readonly [keyof typeof Controller, readonly Name[]])[] = [
  ['CREATE_DELETE_VOLUME', ['createVolume', 'deleteVolume']],
  ['PUBLISH_UNPUBLISH_VOLUME', ['controllerPublishVolume', 'controllerUnpublishVolume']],
  ['LIST_VOLUMES', ['listVolumes']],
  ['GET_CAPACITY', ['getCapacity']],
  ['CREATE_DELETE_SNAPSHOT', ['createSnapshot', 'deleteSnapshot']],
  ['LIST_SNAPSHOTS', ['listSnapshots']],
  ['EXPAND_VOLUME', ['controllerExpandVolume']],
  ['GET_VOLUME', ['controllerGetVolume']],
  ['MODIFY_VOLUME', ['controllerModifyVolume']],
  ['GET_SNAPSHOT', ['getSnapshot']],
];

const CONTROLLER_BY_FEATURES: readonly (readonly [keyof typeof Controller, keyof Features])[] = [
  ['CLONE_VOLUME', 'cloneVolume'],
  ['PUBLISH_READONLY', 'publishReadonly'],
  ['LIST_VOLUMES_PUBLISHED_NODES', 'publishedNodes'],
  ['VOLUME_CONDITION', 'volumeCondition'],
  ['SINGLE_NODE_MULTI_WRITER', 'singleNodeMultiWriter'],
];

const NODE_BY_METHODS: readonly (readonly [keyof typeof Node, readonly Name[]])[] = [
  ['STAGE_UNSTAGE_VOLUME', ['nodeStageVolume', 'nodeUnstageVolume']],
  ['GET_VOLUME_STATS', ['nodeGetVolumeStats']],
  ['EXPAND_VOLUME', ['nodeExpandVolume']],
];

const NODE_BY_FEATURES: readonly (readonly [keyof typeof Node, keyof Features])[] = [
  ['VOLUME_CONDITION', 'volumeCondition'],
  ['SINGLE_NODE_MULTI_WRITER', 'singleNodeMultiWriter'],
  ['VOLUME_MOUNT_GROUP', 'volumeMountGroup'],
];

const GROUP_METHODS = [
  ...(['createVolumeGroupSnapshot', 'deleteVolumeGroupSnapshot'] as const),
  'getVolumeGroupSnapshot' as const,
];

const NODE_METHODS = ['nodePublishVolume', 'nodeUnpublishVolume', 'nodeGetInfo'] as const;

/** What a driver offers, by its methods and features. */
export interface Offer {
  readonly plugin: readonly (keyof typeof Plugin)[];
  readonly expansion: keyof typeof Expansion | undefined;
  readonly controller: readonly (keyof typeof Controller)[];
  readonly group: readonly (keyof typeof Group)[];
  readonly node: readonly (keyof typeof Node)[];
  /** Whether there is a Node service. */
  readonly hasNode: boolean;
}

/** Derives the capabilities. Fails with INVALID_ARGUMENT when methods or features do not go together. */
export function offerOf(driver: CsiDriver): Offer {
  const features = driver.features ?? {};
  const has = (name: Name) => typeof driver[name] === 'function';
  const hasController = Object.keys(SERVICES.controller).some((name) => has(name as Name));
  const hasNode = Object.keys(SERVICES.node).some((name) => has(name as Name));
  const byMethods = <T extends string>(table: readonly (readonly [T, readonly Name[]])[]) =>
    table.filter(([, names]) => together(driver, names, has)).map(([capability]) => capability);
  const byFeatures = <T extends string>(table: readonly (readonly [T, keyof Features])[]) =>
    table.filter(([, feature]) => features[feature] === true).map(([capability]) => capability);
  const group = together(driver, GROUP_METHODS, has);
  const metadata = together(driver, Object.keys(SERVICES.snapshotMetadata) as Name[], has);
  check(driver, has, { hasController, hasNode });
  return {
    plugin: [
      ...(hasController ? (['CONTROLLER_SERVICE'] as const) : []),
      ...(features.topology ? (['VOLUME_ACCESSIBILITY_CONSTRAINTS'] as const) : []),
      ...(group ? (['GROUP_CONTROLLER_SERVICE'] as const) : []),
      ...(metadata ? (['SNAPSHOT_METADATA_SERVICE'] as const) : []),
    ],
    expansion: features.expansion,
    controller: hasController
      ? [...byMethods(CONTROLLER_BY_METHODS), ...byFeatures(CONTROLLER_BY_FEATURES)]
      : [],
    group: group ? ['CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT'] : [],
    node: hasNode ? [...byMethods(NODE_BY_METHODS), ...byFeatures(NODE_BY_FEATURES)] : [],
    hasNode,
  };
}

type Has = (name: Name) => boolean;

function check(
  driver: CsiDriver,
  has: Has,
  { hasController, hasNode }: { hasController: boolean; hasNode: boolean },
): void {
  if (!/^[a-zA-Z0-9]([-a-zA-Z0-9.]{0,61}[a-zA-Z0-9])?$/.test(driver.name)) {
    throw wrong(driver, 'its name is not letters, digits, "-" and ".", at most 63');
  }
  if (driver.version === '') throw wrong(driver, 'it has no version');
  if (hasController && !has('validateVolumeCapabilities')) {
    throw wrong(driver, 'a controller must have "validateVolumeCapabilities"');
  }
  if (hasNode) {
    const missing = NODE_METHODS.find((name) => !has(name));
    if (missing !== undefined) throw wrong(driver, `a node must have "${missing}"`);
  }
  const expands = has('controllerExpandVolume') || has('nodeExpandVolume');
  if (expands !== (driver.features?.expansion !== undefined)) {
    throw wrong(driver, 'expanding takes the feature "expansion" and a method that expands');
  }
}

function together(driver: CsiDriver, names: readonly Name[], has: Has): boolean {
  const missing = names.filter((name) => !has(name));
  if (missing.length === 0) return true;
  if (missing.length === names.length) return false;
  throw wrong(driver, `it has some of ${names.join(', ')}, but not ${missing.join(', ')}`);
}

function wrong(driver: CsiDriver, reason: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', `Cannot serve driver "${driver.name}"`, { reason });
}

/** The answers to the calls that ask what the driver offers. */
export function capabilityAnswers(offer: Offer) {
  const rpcs = (numbers: number[]) => ({
    capabilities: numbers.map((type) => ({ type: { $case: 'rpc' as const, value: { type } } })),
  });
  const services = offer.plugin.map((name) => ({
    type: { $case: 'service' as const, value: { type: Plugin[name] } },
  }));
  const expansions = (offer.expansion === undefined ? [] : [offer.expansion]).map((name) => ({
    type: { $case: 'volumeExpansion' as const, value: { type: Expansion[name] } },
  }));
  return {
    plugin: { capabilities: [...services, ...expansions] },
    controller: rpcs(offer.controller.map((name) => Controller[name])),
    group: rpcs(offer.group.map((name) => Group[name])),
    node: rpcs(offer.node.map((name) => Node[name])),
  };
}
