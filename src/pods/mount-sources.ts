import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { KeelsonError } from '../base/index.ts';
import type { MountConfig } from './config.ts';
import { resolveSource } from './container-mounts.ts';
import type { ContainerPaths } from './container-paths.ts';
import { mountImageVolume } from './image-mounts.ts';
import { mapTree } from './mapped-mounts.ts';
import type { Pods } from './pods.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';
import { labelsOf, relabel } from './selinux.ts';

/**
 * Makes the sources of a container's mounts ready and answers where they lie, in the order
 * of the mounts: a directory where there was nothing, image volumes, and views of the
 * sources with owners as the pod's user namespace has them. The mounts that this needs are
 * in `paths.sources`, and may go once the runtime has made its own of them.
 */
export async function prepareSources(
  pods: Pods,
  request: { mounts: readonly MountConfig[]; sandbox: SandboxRecord; paths: ContainerPaths },
): Promise<string[]> {
  const { mounts, sandbox, paths } = request;
  const sources: string[] = [];
  for (const [index, mount] of mounts.entries()) {
    const place = join(paths.sources, String(index));
    const userNamespace = mappedBy(mount, sandbox);
    if (mount.image !== undefined) {
      sources.push(await mountImageVolume(pods, { mount, place, userNamespace }));
      continue;
    }
    const source = await resolveSource(mount.hostPath);
    if (userNamespace !== undefined) mapTree(source, place, userNamespace);
    sources.push(userNamespace === undefined ? source : place);
  }
  return sources;
}

/**
 * The user namespace by which a mount is mapped; undefined for one that asks for none. An
 * image has no owners of its own on this host, so its volume is the pod's always.
 */
function mappedBy(mount: MountConfig, sandbox: SandboxRecord): string | undefined {
  const { uidMappings, gidMappings } = mount;
  const { user } = sandbox.config.namespaces;
  if (uidMappings.length + gidMappings.length === 0) {
    return mount.image === undefined ? undefined : sandbox.namespaces.user;
  }
  const same =
    user !== undefined &&
    isDeepStrictEqual(uidMappings, [user.uids]) &&
    isDeepStrictEqual(gidMappings, [user.gids]);
  if (same) return sandbox.namespaces.user;
  throw new KeelsonError('INVALID_ARGUMENT', `Cannot map the owners in "${mount.containerPath}"`, {
    reason: "the mount's mappings are not those of the pod's user namespace",
  });
}

/** Volumes that shall be the container's alone get its label, where there are any. */
export async function relabelSources(
  pods: Pods,
  parts: { record: ContainerRecord; sandbox: SandboxRecord; sources: readonly string[] },
): Promise<void> {
  const { record, sandbox, sources } = parts;
  const { privileged } = record.config.security;
  // What is not confined reads every file as it is.
  const label = privileged ? undefined : labelsOf(pods.host.selinux, sandbox, record)?.mount;
  for (const [index, mount] of record.config.mounts.entries()) {
    const source = sources[index];
    if (!mount.selinuxRelabel || mount.image !== undefined || source === undefined) continue;
    if (label === undefined) {
      pods.logger.debug({ containerId: record.id, source }, 'not relabelled: no SELinux label');
    } else {
      await relabel(source, label);
    }
  }
}
