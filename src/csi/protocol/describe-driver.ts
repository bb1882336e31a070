import type { KeelsonError } from '../../base/index.ts';
import {
  ControllerServiceCapability_RPC_Type,
  GroupControllerServiceCapability_RPC_Type,
  NodeServiceCapability_RPC_Type,
  PluginCapability_Service_Type,
  PluginCapability_VolumeExpansion_Type,
} from '../../gen/csi/v1/csi.ts';
import type { CsiClient } from './client.ts';
import { csiErrorOf } from './csi-error.ts';
import type { CallOptions } from './socket-client.ts';

export type PluginService = keyof typeof PluginCapability_Service_Type;
export type ControllerCapability = keyof typeof ControllerServiceCapability_RPC_Type;
export type NodeCapability = keyof typeof NodeServiceCapability_RPC_Type;
export type GroupCapability = keyof typeof GroupControllerServiceCapability_RPC_Type;
export type VolumeExpansion = keyof typeof PluginCapability_VolumeExpansion_Type;

/** What a driver says it is and can do. Capabilities of later versions are left out. */
export interface DriverDescription {
  readonly name: string;
  readonly version: string;
  readonly manifest: Readonly<Record<string, string>>;
  readonly ready: boolean;
  readonly plugin: readonly PluginService[];
  readonly expansion: readonly VolumeExpansion[];
  /** Empty when there is no such service here. */
  readonly controller: readonly ControllerCapability[];
  readonly groupController: readonly GroupCapability[];
  /** Undefined when there is no Node service here. */
  readonly node: NodeDescription | undefined;
}

export interface NodeDescription {
  readonly capabilities: readonly NodeCapability[];
  readonly nodeId: string;
  /** 0: no limit is known. */
  readonly maxVolumes: bigint;
  readonly topology: Readonly<Record<string, string>>;
}

/** Asks a driver in the order of the specification: who, what, ready, and then each service. */
export async function describeDriver(
  driver: CsiClient,
  options: CallOptions = {},
): Promise<DriverDescription> {
  const info = await driver.identity.getPluginInfo({}, options);
  const { capabilities } = await driver.identity.getPluginCapabilities({}, options);
  const types = capabilities.flatMap(({ type }) => type ?? []);
  const plugin = namesOf(
    PluginCapability_Service_Type,
    types.map((type) => (type.$case === 'service' ? type.value.type : undefined)),
  );
  const expansion = namesOf(
    PluginCapability_VolumeExpansion_Type,
    types.map((type) => (type.$case === 'volumeExpansion' ? type.value.type : undefined)),
  );
  const { ready } = await driver.identity.probe({}, options);
  return {
    name: info.name,
    version: info.vendorVersion,
    manifest: info.manifest,
    ready: ready ?? true,
    plugin,
    expansion,
    controller: plugin.includes('CONTROLLER_SERVICE')
      ? await controllerCapabilities(driver, options)
      : [],
    groupController: plugin.includes('GROUP_CONTROLLER_SERVICE')
      ? await groupCapabilities(driver, options)
      : [],
    node: await describeNode(driver, options),
  };
}

/** The capabilities of the Controller service. */
export async function controllerCapabilities(
  driver: CsiClient,
  options: CallOptions = {},
): Promise<ControllerCapability[]> {
  const { capabilities } = await driver.controller.controllerGetCapabilities({}, options);
  const types = capabilities.map(({ type }) => type?.value.type);
  return namesOf(ControllerServiceCapability_RPC_Type, types);
}

/** The capabilities of the Node service. */
export async function nodeCapabilities(
  driver: CsiClient,
  options: CallOptions = {},
): Promise<NodeCapability[]> {
  const { capabilities } = await driver.node.nodeGetCapabilities({}, options);
  const types = capabilities.map(({ type }) => type?.value.type);
  return namesOf(NodeServiceCapability_RPC_Type, types);
}

async function groupCapabilities(
  driver: CsiClient,
  options: CallOptions,
): Promise<GroupCapability[]> {
  const { capabilities } = await driver.groupController.groupControllerGetCapabilities({}, options);
  const types = capabilities.map(({ type }) => type?.value.type);
  return namesOf(GroupControllerServiceCapability_RPC_Type, types);
}

/** A driver may serve its Controller on one socket and its Node service on another. */
async function describeNode(
  driver: CsiClient,
  options: CallOptions,
): Promise<NodeDescription | undefined> {
  try {
    const capabilities = await nodeCapabilities(driver, options);
    const info = await driver.node.nodeGetInfo({}, options);
    return {
      capabilities,
      nodeId: info.nodeId,
      maxVolumes: info.maxVolumesPerNode,
      topology: info.accessibleTopology?.segments ?? {},
    };
  } catch (error) {
    if (isUnimplemented(csiErrorOf(error))) return undefined;
    throw error;
  }
}

function isUnimplemented(error: KeelsonError | undefined): boolean {
  return error?.code === 'UNIMPLEMENTED';
}

/** The known names of enum values, without UNKNOWN. */
function namesOf<E extends Record<string, number>>(
  values: E,
  numbers: readonly (number | undefined)[],
): Exclude<keyof E & string, 'UNKNOWN'>[] {
  const names = Object.entries(values)
    .filter(([name, number]) => name !== 'UNKNOWN' && numbers.includes(number))
    .map(([name]) => name);
  return names as Exclude<keyof E & string, 'UNKNOWN'>[];
}
