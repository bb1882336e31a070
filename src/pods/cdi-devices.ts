import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ifExists, KeelsonError } from '../base/index.ts';
import { splitDeviceNumber } from '../linux/index.ts';
import {
  annotatedDevices,
  type CdiDeviceNode,
  type CdiEdits,
  type CdiHook,
  type CdiMount,
  resolveDevices,
} from '../oci/cdi/index.ts';
import type { DeviceNode, Hooks, LinuxConfig, SpecMount } from '../oci/spec/index.ts';
import type { ContainerConfig } from './config.ts';
import type { ContainerDevice } from './container-devices.ts';

/** What the CDI devices of a container add to it. */
export interface CdiAdditions {
  env: string[];
  devices: ContainerDevice[];
  mounts: SpecMount[];
  additionalGids: number[];
  hooks: Hooks;
  intelRdt: LinuxConfig['intelRdt'];
}

/** The names of all CDI devices that a container asks for, by field and by annotation. */
export function cdiNames(config: Pick<ContainerConfig, 'cdiDevices' | 'annotations'>): string[] {
  return [...config.cdiDevices, ...annotatedDevices(config.annotations)];
}

/**
 * Looks up the CDI devices of a container. Fails with INVALID_ARGUMENT, naming the device,
 * if one is not to be had.
 */
export async function cdiAdditions(
  config: Pick<ContainerConfig, 'cdiDevices' | 'annotations'>,
  directories: readonly string[],
): Promise<CdiAdditions> {
  const edits = await resolveDevices(cdiNames(config), directories);
  const nodes = edits.flatMap(({ deviceNodes }) => deviceNodes ?? []);
  return {
    env: edits.flatMap(({ env }) => env ?? []),
    devices: await Promise.all(nodes.map(deviceOf)),
    mounts: edits.flatMap(({ mounts }) => mounts ?? []).map(mountOf),
    additionalGids: edits.flatMap(({ additionalGids }) => additionalGids ?? []),
    hooks: hooksOf(edits.flatMap(({ hooks }) => hooks ?? [])),
    intelRdt: lastOf(edits),
  };
}

/** What the document does not say of a node is as on the host. */
async function deviceOf(given: CdiDeviceNode): Promise<ContainerDevice> {
  const source = given.hostPath ?? given.path;
  const found = await hostDevice(source);
  const type = given.type === 'u' ? 'c' : (given.type ?? found?.type);
  const major = given.major ?? found?.major;
  const minor = given.minor ?? found?.minor;
  if (type === undefined || (type !== 'p' && (major === undefined || minor === undefined))) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot add device "${source}"`, {
      reason: 'there is no such device on this host, and its CDI document does not describe it',
    });
  }
  const node: DeviceNode = {
    path: resolve('/', given.path),
    type,
    major: major ?? 0,
    minor: minor ?? 0,
    ...optional('fileMode', given.fileMode ?? found?.fileMode),
    ...optional('uid', given.uid),
    ...optional('gid', given.gid),
  };
  return { node, access: given.permissions || 'rwm' };
}

async function hostDevice(
  path: string,
): Promise<Pick<DeviceNode, 'type' | 'major' | 'minor' | 'fileMode'> | undefined> {
  const info = await ifExists(stat(path));
  if (info === undefined) return undefined;
  const type = info.isBlockDevice()
    ? 'b'
    : info.isCharacterDevice()
      ? 'c'
      : info.isFIFO()
        ? 'p'
        : undefined;
  if (type === undefined) return undefined;
  return { type, ...splitDeviceNumber(info.rdev), fileMode: info.mode & 0o7777 };
}

function mountOf({ hostPath, containerPath, options = [], type }: CdiMount): SpecMount {
  const binds = type === undefined || type === 'bind';
  const named = options.some((option) => option === 'bind' || option === 'rbind');
  return {
    destination: resolve('/', containerPath),
    type: type ?? 'bind',
    source: hostPath,
    options: binds && !named ? ['rbind', ...options] : options,
  };
}

function hooksOf(given: readonly CdiHook[]): Hooks {
  const hooks: Hooks = {};
  for (const { hookName, ...hook } of given) {
    const list = hooks[hookName] ?? [];
    list.push({
      path: hook.path,
      ...optional('args', hook.args),
      ...optional('env', hook.env),
      ...optional('timeout', hook.timeout || undefined),
    });
    hooks[hookName] = list;
  }
  return hooks;
}

/** A container is in one class of resources: the last device says which. */
function lastOf(edits: readonly CdiEdits[]): LinuxConfig['intelRdt'] {
  const given = edits.flatMap(({ intelRdt }) => intelRdt ?? []).at(-1);
  if (given === undefined) return undefined;
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V });
}
