import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { ifExists, KeelsonError } from '../base/index.ts';
import { splitDeviceNumber } from '../linux/index.ts';
import type { DeviceNode } from '../oci/spec/index.ts';
import type { ContainerConfig } from './config.ts';

export interface ContainerDevice {
  node: DeviceNode;
  access: string;
}

/** What stands below /dev but is not a device of the machine: each container has its own. */
const NOT_DEVICES = new Set([
  ...['pts', 'shm', 'fd', 'mqueue', 'console', '.lxc', '.lxd-mounts', '.udev'],
]);

/** What runtimes put into each container. */
const GIVEN = new Set(
  ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx'].map((name) => `/dev/${name}`),
);

/** The devices that a container asked for: one each, or all below a directory. */
export async function requestedDevices(
  devices: ContainerConfig['devices'],
): Promise<ContainerDevice[]> {
  const found = await Promise.all(
    devices.map(async ({ containerPath, hostPath, permissions }) => {
      const access = checkAccess(permissions, hostPath);
      const source = await ifExists(realpath(hostPath));
      if (source === undefined) {
        throw new KeelsonError('INVALID_ARGUMENT', `Cannot add device "${hostPath}"`, {
          reason: 'there is no such file on this host',
        });
      }
      const target = resolve('/', containerPath || hostPath);
      const nodes = (await stat(source)).isDirectory()
        ? (await devicesBelow(source))
            .map((node) => ({ ...node, path: join(target, relative(source, node.path)) }))
            .filter(({ path }) => !GIVEN.has(path))
        : [await singleDevice(source, target)];
      return nodes.map((node) => ({ node, access }));
    }),
  );
  return found.flat();
}

/** All devices of the host, for privileged containers. */
export async function hostDevices(): Promise<ContainerDevice[]> {
  const nodes = (await devicesBelow('/dev')).filter(({ path }) => !GIVEN.has(path));
  return nodes.map((node) => ({ node, access: 'rwm' }));
}

async function singleDevice(source: string, target: string): Promise<DeviceNode> {
  const node = await deviceAt(source);
  if (node === undefined) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot add device "${source}"`, {
      reason: 'it is neither a device nor a directory',
    });
  }
  return { ...node, path: target };
}

async function devicesBelow(directory: string): Promise<DeviceNode[]> {
  const entries = (await ifExists(readdir(directory, { withFileTypes: true }))) ?? [];
  const found = await Promise.all(
    entries
      .filter((entry) => !NOT_DEVICES.has(entry.name))
      .map(async (entry) => {
        const path = join(directory, entry.name);
        if (entry.isDirectory()) return devicesBelow(path);
        if (!entry.isCharacterDevice() && !entry.isBlockDevice()) return [];
        const node = await deviceAt(path);
        return node === undefined ? [] : [node];
      }),
  );
  return found.flat();
}

async function deviceAt(path: string): Promise<DeviceNode | undefined> {
  const info = await ifExists(lstat(path));
  if (info === undefined || (!info.isCharacterDevice() && !info.isBlockDevice())) return undefined;
  return {
    path,
    type: info.isBlockDevice() ? 'b' : 'c',
    ...splitDeviceNumber(info.rdev),
    fileMode: info.mode & 0o7777,
    uid: info.uid,
    gid: info.gid,
  };
}

function checkAccess(permissions: string, device: string): string {
  if (permissions === '' || /[^rwm]/.test(permissions)) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot add device "${device}"`, {
      reason: `"${permissions}" is not made of r, w and m`,
    });
  }
  return permissions;
}
