import { constants } from 'node:fs';
import { lstat, mkdir, open } from 'node:fs/promises';
import { errnoOf, KeelsonError } from '../../base/index.ts';
import type { VolumeCapability } from '../../gen/csi/v1/csi.ts';
import {
  addBindOptions,
  attachLoop,
  bindMount,
  detachLoop,
  growFileSystem,
  growsUnmounted,
  growUnmounted,
  holdLoop,
  loopsOf,
  mountFileSystem,
  mountsOfDevice,
  refreshLoopSize,
} from '../../linux/index.ts';
import type { HostPathContext } from './context.ts';
import type { VolumeRecord } from './records.ts';

/** Makes a volume usable on this node: a directory or file system at the path, or a device. */
export async function stageVolume(
  context: HostPathContext,
  volume: VolumeRecord,
  at: { path: string; capability: VolumeCapability | undefined },
): Promise<void> {
  const { layout } = context;
  const options = mountOptions(at.capability);
  if (volume.kind === 'directory') {
    bindMount(layout.data(volume.id), at.path);
    addBindOptions(at.path, options);
  } else if (volume.kind === 'filesystem') {
    await mountImage(context, volume, { path: at.path, options });
  } else {
    await deviceOf(context, volume, false);
  }
}

function mountOptions(capability: VolumeCapability | undefined): string[] {
  const type = capability?.accessType;
  return type?.$case === 'mount' ? type.value.mountFlags : [];
}

async function mountImage(
  { layout, places }: HostPathContext,
  volume: VolumeRecord,
  at: { path: string; options: readonly string[] },
): Promise<void> {
  const { id, fsType } = volume;
  const used = await places.usedAt(volume);
  if (used !== undefined) {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot mount volume "${id}"`, {
      reason: `it is mounted at "${used}"`,
    });
  }
  if (fsType === undefined) throw new KeelsonError('INTERNAL', `Volume "${id}" has no fsType`);
  const image = layout.image(id);
  const { path: target, options } = at;
  await using held = await holdLoop(image);
  // It may have been expanded while it was not mounted.
  if (held === undefined && growsUnmounted(fsType)) await growUnmounted(image, layout.programs);
  await using attached =
    held === undefined ? await attachLoop(image, { autoclear: true }) : undefined;
  const device = held?.path ?? attached?.path ?? '';
  if (held !== undefined) refreshLoopSize(device);
  await mountFileSystem({ device, target, type: fsType, options }, layout.programs);
  if (growsUnmounted(fsType) || options.includes('ro')) return;
  await growFileSystem(fsType, { device, target }, layout.programs);
}

/** The loop device of a block volume, attached if it is not. */
export async function deviceOf(
  { layout }: HostPathContext,
  volume: VolumeRecord,
  readonly: boolean,
): Promise<string> {
  const image = layout.image(volume.id);
  const present = (await loopsOf(image)).find((loop) => loop.readonly === readonly);
  if (present !== undefined) return present.path;
  await using loop = await attachLoop(image, { readonly });
  return loop.path;
}

/** Detaches the devices of a block volume that nobody has mounted, but for one to write to if it is staged. */
export async function releaseDevices(
  { layout }: HostPathContext,
  volume: VolumeRecord,
  staged: boolean,
): Promise<void> {
  for (const loop of await loopsOf(layout.image(volume.id))) {
    if (staged && !loop.readonly) continue;
    if ((await mountsOfDevice(loop.path)).length === 0) detachLoop(loop.path);
  }
}

/** Makes the staged volume visible at the target path, which is made. */
export async function publishVolume(
  context: HostPathContext,
  volume: VolumeRecord,
  at: { staging: string; target: string; readonly: boolean },
): Promise<void> {
  const { staging, target, readonly } = at;
  if (volume.kind === 'block') {
    const device = await deviceOf(context, volume, readonly);
    await makeFile(target);
    bindMount(device, target);
    return;
  }
  await makeTarget(target);
  bindMount(staging, target);
  if (readonly) addBindOptions(target, ['ro']);
}

/** Makes the directory of a target path. Its parent is the caller's to make. */
export async function makeTarget(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o750 });
  } catch (cause) {
    if (errnoOf(cause) !== 'EEXIST') throw noTarget(path, cause);
    if ((await lstat(path)).isDirectory()) return;
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot publish at "${path}"`, {
      reason: 'what is there is no directory',
    });
  }
}

async function makeFile(path: string): Promise<void> {
  const flags =
    constants.O_CREAT | constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  try {
    await using file = await open(path, flags, 0o640);
    const stat = await file.stat();
    if (stat.isFile() && stat.size === 0) return;
  } catch (cause) {
    throw noTarget(path, cause);
  }
  throw new KeelsonError('FAILED_PRECONDITION', `Cannot publish at "${path}"`, {
    reason: 'what is there is no empty file',
  });
}

function noTarget(path: string, cause: unknown): KeelsonError {
  const code = errnoOf(cause) === 'ENOENT' ? 'FAILED_PRECONDITION' : 'INTERNAL';
  return new KeelsonError(code, `Cannot make target path "${path}"`, { cause });
}
