import { statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { KeelsonError } from '../base/index.ts';
import { mountOverlay, resolveInRoot } from '../linux/index.ts';
import type { ImageRecord } from '../oci/images/index.ts';
import type { ImageReference, MountConfig } from './config.ts';
import { mapDirectories } from './mapped-mounts.ts';
import type { Pods } from './pods.ts';

/** An error that kubelets know by the first word of its message. */
function failed(image: string, reason: string, cause?: unknown): KeelsonError {
  return new KeelsonError('UNKNOWN', `ImageVolumeMountFailed: Cannot mount image "${image}"`, {
    reason,
    ...(cause === undefined ? {} : { cause }),
  });
}

/**
 * The images of a container's mounts, and the mounts with what those are now, by the id that
 * PullImage answers, as the status tells them. Fails if one is not on this node: nothing is
 * pulled.
 */
export async function findVolumes(
  pods: Pods,
  mounts: readonly MountConfig[],
): Promise<{ mounts: MountConfig[]; images: ImageRecord[] }> {
  const images: ImageRecord[] = [];
  const resolved: MountConfig[] = [];
  for (const mount of mounts) {
    if (mount.image === undefined) {
      resolved.push(mount);
      continue;
    }
    const found = await findVolume(pods, mount.image);
    images.push(found);
    const image = { ...mount.image, image: found.id, imageRef: found.id };
    resolved.push({ ...mount, image });
  }
  return { mounts: resolved, images };
}

async function findVolume(
  pods: Pods,
  { image, runtimeHandler }: ImageReference,
): Promise<ImageRecord> {
  pods.runtimes.get(runtimeHandler);
  const found = await pods.images.find(image);
  if (found !== undefined) return found;
  throw failed(image, 'it is not on this node: pull it first');
}

/**
 * Mounts the files of an image below `place`, read-only, and answers where those lie that
 * the container asked for. Links in the image are followed inside of it.
 */
export async function mountImageVolume(
  pods: Pods,
  request: { mount: MountConfig; place: string; userNamespace: string | undefined },
): Promise<string> {
  const { mount, place, userNamespace } = request;
  const name = mount.image?.image ?? '';
  const image = await pods.images.find(name);
  if (image === undefined) throw failed(name, 'it was removed meanwhile');
  await mkdir(place, { mode: 0o755 });
  try {
    const layers = pods.images.readonlyLayerPaths(image);
    const lower =
      userNamespace === undefined
        ? layers
        : mapDirectories(layers, `${place}-layers`, userNamespace);
    // An image without layers is an empty directory.
    if (lower.length > 1) mountOverlay({ lower, target: place });
  } catch (cause) {
    throw failed(name, 'its layers cannot be mounted', cause);
  }
  if (mount.imageSubPath === '') return place;
  const inside = resolveInRoot(place, mount.imageSubPath);
  if (inside === undefined) throw failed(name, `it has no "${mount.imageSubPath}"`);
  if (statSync(inside).isDirectory()) return inside;
  throw failed(name, `"${mount.imageSubPath}" is not a directory`);
}
