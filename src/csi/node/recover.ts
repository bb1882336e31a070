import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ifExists, messageOf } from '../../base/index.ts';
import { objectNameOf, type Publication, type Ref, refOf } from '../objects/index.ts';
import { isMounted, mountsBelow, removeMountPoint } from './mount-state.ts';
import type { NodeParts } from './node-parts.ts';
import { publicationName, sha256, stageName } from './paths.ts';
import { readVolumeData, removeVolumeData } from './volume-data.ts';

/**
 * What a daemon finds when it starts: nobody waits for volumes that were being prepared, so
 * they go. What lies in the directories without a record gets one again, from what is noted
 * beside it, so that it is taken down like everything else.
 */
export async function recoverNode(parts: NodeParts): Promise<void> {
  const { store, logger } = parts;
  for (const publication of store.list('VolumePublication')) {
    if (publication.status.phase === 'Preparing') await release(parts, publication);
    else reportLost(parts, publication);
  }
  for (const work of [adoptPublications, adoptStages]) {
    try {
      await work(parts);
    } catch (error) {
      logger.error({ error }, `cannot look for volumes without record: ${messageOf(error)}`);
    }
  }
}

async function release({ store }: NodeParts, publication: Publication): Promise<void> {
  const ref = refOf(publication) as Ref<'VolumePublication'>;
  await store.changeIfThere(ref, (current) => ({
    ...current,
    status: { ...current.status, phase: 'Releasing' },
  }));
}

/** A reboot, or a driver that took its mounts along: pods of before see nothing there. */
function reportLost({ logger, events }: NodeParts, { spec, status }: Publication): void {
  if (status.phase !== 'Published' || spec.volumeMode === 'Block' || isMounted(spec.targetPath)) {
    return;
  }
  const message = `volume "${spec.volumeName}" is not mounted in pod "${spec.pod.name}" any more`;
  logger.warn({ volume: spec.volumeName, pod: spec.pod.uid, path: spec.targetPath }, message);
  const ref = { kind: 'PersistentVolume' as const, name: spec.volumeName };
  events.add(ref, 'Warning', 'MountLost', message);
}

async function names(directory: string): Promise<string[]> {
  const entries = (await ifExists(readdir(directory, { withFileTypes: true }))) ?? [];
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

async function adoptPublications(parts: NodeParts): Promise<void> {
  const { store, paths } = parts;
  for (const uid of await names(paths.pods)) {
    const volumes = dirname(dirname(paths.publishedFileSystem(uid, 'x')));
    for (const volumeName of await names(volumes)) {
      const name = publicationName(uid, volumeName);
      if (store.find({ kind: 'VolumePublication', name }) !== undefined) continue;
      await adoptPublication(parts, uid, volumeName);
    }
  }
}

async function adoptPublication(parts: NodeParts, uid: string, volumeName: string): Promise<void> {
  const { store, paths, logger } = parts;
  const targetPath = paths.publishedFileSystem(uid, volumeName);
  const data = await readVolumeData(targetPath);
  if (data === undefined || !objectNameOf(volumeName)) {
    return removeIfEmpty(parts, targetPath, paths.pods);
  }
  logger.warn({ path: targetPath, driver: data.driverName }, 'a volume has no record: it goes');
  await store.create<'VolumePublication'>({
    apiVersion: 'storage.keelson/v1',
    kind: 'VolumePublication',
    metadata: { name: publicationName(uid, volumeName) },
    spec: {
      driver: data.driverName,
      volumeHandle: data.volumeHandle,
      volumeName,
      volumeMode: 'Filesystem',
      accessMode: 'ReadWriteOnce',
      pod: { uid, name: 'unknown', namespace: 'default', serviceAccount: 'default' },
      readOnly: false,
      targetPath,
    },
    status: { phase: 'Releasing' },
  });
}

async function adoptStages(parts: NodeParts): Promise<void> {
  const { store, paths, logger } = parts;
  for (const driver of await names(paths.plugins)) {
    if (driver === 'volumeDevices') continue;
    for (const hash of await names(join(paths.plugins, driver))) {
      const stagingPath = join(paths.plugins, driver, hash, 'globalmount');
      const data = await readVolumeData(stagingPath);
      const whole = data?.driverName === driver && sha256(data.volumeHandle) === hash;
      if (data === undefined || !whole) {
        await removeIfEmpty(parts, stagingPath, paths.plugins);
        continue;
      }
      const name = stageName(driver, data.volumeHandle);
      if (store.find({ kind: 'VolumeStage', name }) !== undefined) continue;
      logger.warn({ path: stagingPath, driver }, 'a staged volume has no record: it goes');
      await store.create<'VolumeStage'>({
        apiVersion: 'storage.keelson/v1',
        kind: 'VolumeStage',
        metadata: { name },
        spec: {
          driver,
          volumeHandle: data.volumeHandle,
          volumeName: volumeOf(parts, driver, data.volumeHandle) ?? 'unknown',
          volumeMode: 'Filesystem',
          accessMode: 'ReadWriteOnce',
          stagingPath,
        },
        status: { phase: 'Unstaging' },
      });
    }
  }
}

function volumeOf({ store }: NodeParts, driver: string, handle: string): string | undefined {
  return store
    .list('PersistentVolume')
    .find(({ spec }) => spec.csi.driver === driver && spec.csi.volumeHandle === handle)?.metadata
    .name;
}

/** Left by a crash between two steps. What holds anything is left alone, and said. */
async function removeIfEmpty({ logger }: NodeParts, path: string, top: string): Promise<void> {
  try {
    if (mountsBelow(path).length === 0) await removeVolumeData(path);
    await removeMountPoint(path, top);
  } catch (error) {
    logger.warn({ path, error }, `something unknown lies where volumes go: ${messageOf(error)}`);
  }
}
