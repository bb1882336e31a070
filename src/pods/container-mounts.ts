import { mkdir, realpath } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ifExists, KeelsonError } from '../base/index.ts';
import { listMounts, mountOf } from '../linux/index.ts';
import type { SpecMount } from '../oci/spec/index.ts';
import type { MountConfig } from './config.ts';
import type { SandboxRecord } from './records.ts';
import { SANDBOX_FILES, SHM } from './sandbox-files.ts';

/** What the runtime of a container can do with mounts. */
export interface MountFeatures {
  /** Mount options that the runtime says it knows; undefined when it does not say. */
  options: readonly string[] | undefined;
}

/** The bind mounts that a container asked for, checked. `sources` are in their order. */
export function requestedMounts(
  mounts: readonly MountConfig[],
  sources: readonly string[],
  features: MountFeatures,
): SpecMount[] {
  const kernel = listMounts();
  return mounts.map((mount, index): SpecMount => {
    const source = sources[index] ?? mount.hostPath;
    checkPropagation(mount, source, kernel);
    return {
      destination: resolve('/', mount.containerPath),
      type: 'bind',
      source,
      options: ['rbind', ...optionsOf(mount, features)],
    };
  });
}

/** The strongest propagation that any mount needs of the root filesystem. */
export function rootfsPropagation(mounts: readonly MountConfig[]): string {
  if (mounts.some((mount) => mount.propagation === 'bidirectional')) return 'rshared';
  if (mounts.some((mount) => mount.propagation === 'host-to-container')) return 'rslave';
  return 'rprivate';
}

/** /etc/hostname, /etc/hosts, /etc/resolv.conf and /dev/shm, unless the container brings its own. */
export function sandboxMounts(
  sandbox: SandboxRecord,
  directory: string,
  container: { mounts: readonly MountConfig[]; readonlyRootfs: boolean },
): SpecMount[] {
  const taken = new Set(container.mounts.map((mount) => resolve('/', mount.containerPath)));
  const access = container.readonlyRootfs ? 'ro' : 'rw';
  const files = Object.entries(SANDBOX_FILES).map(([file, destination]) => ({
    destination,
    type: 'bind',
    source: join(directory, file),
    options: ['rbind', 'rprivate', access],
  }));
  const shm = {
    destination: '/dev/shm',
    type: 'bind',
    source: sandbox.namespaces.ipc === undefined ? '/dev/shm' : join(directory, SHM),
    options: ['rbind', 'rprivate', 'rw', 'nosuid', 'nodev', 'noexec'],
  };
  return [...files, shm].filter((mount) => !taken.has(mount.destination));
}

/** Links are followed; a directory is made where there is nothing, as other runtimes do. */
export async function resolveSource(path: string): Promise<string> {
  const existing = await ifExists(realpath(path));
  if (existing !== undefined) return existing;
  await mkdir(path, { recursive: true, mode: 0o755 });
  return realpath(path);
}

function checkPropagation(
  mount: MountConfig,
  source: string,
  kernel: ReturnType<typeof listMounts>,
): void {
  if (mount.propagation === 'private') return;
  const under = mountOf(source, kernel);
  const shared = under?.propagation.some((field) => field.startsWith('shared:')) ?? false;
  const slave = under?.propagation.some((field) => field.startsWith('master:')) ?? false;
  if (shared || (slave && mount.propagation === 'host-to-container')) return;
  throw new KeelsonError(
    'INVALID_ARGUMENT',
    `Cannot mount "${mount.hostPath}" with propagation ${mount.propagation}`,
    {
      reason: `it lies on mount "${under?.target}", which is not a shared${mount.propagation === 'bidirectional' ? '' : ' or slave'} mount`,
      hint: `make it one: mount --make-rshared ${under?.target}`,
    },
  );
}

const PROPAGATION = {
  private: 'rprivate',
  'host-to-container': 'rslave',
  bidirectional: 'rshared',
} as const;

function optionsOf(mount: MountConfig, features: MountFeatures): string[] {
  const readonly = mount.recursiveReadOnly
    ? recursiveReadOnly(mount, features)
    : mount.readonly
      ? 'ro'
      : 'rw';
  return [PROPAGATION[mount.propagation], readonly, ...mount.options];
}

function recursiveReadOnly(mount: MountConfig, features: MountFeatures): string {
  const refuse = (reason: string) =>
    // Kubelets know this failure by the first word of the message.
    new KeelsonError('UNKNOWN', `RROUnsupported: Cannot mount "${mount.hostPath}"`, { reason });
  if (!mount.readonly) throw refuse('recursive_read_only needs readonly');
  if (mount.propagation !== 'private')
    throw refuse('recursive_read_only needs PRIVATE propagation');
  if (features.options?.includes('rro') !== true) {
    throw refuse('the OCI runtime does not know recursive read-only mounts');
  }
  return 'rro';
}
