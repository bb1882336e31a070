import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { codeOf } from '../../src/base/index.ts';
import { CsiClient } from '../../src/csi/protocol/index.ts';
import * as csi from '../../src/gen/csi/v1/csi.ts';
import { loopsOf, mount } from '../../src/linux/index.ts';
import { killLeftovers, leftoversUnder, waitFor } from '../harness/index.ts';

const CHILD = new URL('hostpath-child.ts', import.meta.url).pathname;
const SIZE = 8n << 20n;

let directory: string;
let root: string;
let socket: string;
let client: CsiClient;
let child: ChildProcess | undefined;
/** Where the driver is still to be killed, in the order in which it gets there. */
let points: string[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-csi-'));
  mount({ source: 'tmpfs', target: directory, type: 'tmpfs', data: 'size=1g' });
  root = join(directory, 'root');
  socket = join(directory, 'csi.sock');
  client = new CsiClient(socket);
});

afterEach(async () => {
  client[Symbol.dispose]();
  child?.kill('SIGKILL');
  child = undefined;
  await killLeftovers(directory);
  await rm(directory, { recursive: true, force: true });
});

/** Starts the driver, to be killed at the next of the points. */
async function start(): Promise<void> {
  const point = points.shift();
  const started = spawn(process.execPath, [CHILD, socket, root], {
    env: {
      ...process.env,
      NODE_COMPILE_CACHE: join(directory, 'compiled'),
      ...(point === undefined ? {} : { KEELSON_FAULT_POINT: point }),
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  started.stderr?.on('data', (chunk: Buffer) => {
    log += chunk.toString();
  });
  child = started;
  await waitFor('the driver to listen', () => {
    if (started.exitCode !== null || started.signalCode !== null) throw new Error(log);
    return log.includes('listens');
  });
}

async function stop(): Promise<void> {
  const ending = child;
  child = undefined;
  if (ending === undefined) return;
  const ended = once(ending, 'exit');
  ending.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
}

/** Makes the call, again each time that it has killed the driver. */
async function survive<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const dying = child;
      if (codeOf(error) !== 'UNAVAILABLE') throw error;
      await waitFor('the end of the driver', () => dying?.signalCode === 'SIGKILL');
      await start();
    }
  }
}

interface Life {
  killedAt: readonly string[];
  capability: csi.DeepPartial<csi.VolumeCapability>;
  /** Puts something into the volume, and tells whether it is there. */
  write(target: string): Promise<void>;
  read(target: string): Promise<string>;
}

/** The whole life of a volume, with a driver that is killed at each of the points. */
async function live({ capability, write, read, killedAt }: Life): Promise<void> {
  points = killedAt.map((point) => `hostpath/${point}`);
  await start();
  const staging = join(directory, 'staging');
  const target = join(directory, 'target');
  await mkdir(staging);
  const created = await survive(() =>
    client.controller.createVolume(
      csi.CreateVolumeRequest.fromPartial({
        name: 'one',
        volumeCapabilities: [capability],
        capacityRange: { requiredBytes: SIZE },
      }),
    ),
  );
  const volumeId = created.volume?.volumeId ?? '';
  expect(await readdir(join(root, 'volumes'))).toEqual([volumeId]);
  const stage = { volumeId, stagingTargetPath: staging, volumeCapability: capability };
  await survive(() => client.node.nodeStageVolume(csi.NodeStageVolumeRequest.fromPartial(stage)));
  const publication = csi.NodePublishVolumeRequest.fromPartial({ ...stage, targetPath: target });
  await survive(() => client.node.nodePublishVolume(publication));
  await write(target);
  const { snapshot } = await survive(() =>
    client.controller.createSnapshot(
      csi.CreateSnapshotRequest.fromPartial({ name: 's', sourceVolumeId: volumeId }),
    ),
  );
  await survive(() =>
    client.controller.controllerExpandVolume(
      csi.ControllerExpandVolumeRequest.fromPartial({
        volumeId,
        capacityRange: { requiredBytes: SIZE * 2n },
      }),
    ),
  );
  // It was in use all the time, and can be written: nothing stands still any more.
  await write(target);
  expect(await read(target)).toBe('kept');
  await survive(() => client.node.nodeUnpublishVolume({ volumeId, targetPath: target }));
  await survive(() => client.node.nodeUnstageVolume({ volumeId, stagingTargetPath: staging }));
  const { snapshotId = '' } = snapshot ?? {};
  await survive(() => client.controller.deleteSnapshot({ snapshotId, secrets: {} }));
  await survive(() => client.controller.deleteVolume({ volumeId, secrets: {} }));
  expect(points).toEqual([]);
  await stop();
  for (const name of ['volumes', 'snapshots', 'nodes', 'new', 'trash']) {
    expect(await readdir(join(root, name)), name).toEqual([]);
  }
  expect(existsSync(target)).toBe(false);
  await expect
    .poll(() => loopsOf(join(root, 'volumes', volumeId, 'image')), { timeout: 10_000 })
    .toEqual([]);
  expect(await leftoversUnder(directory)).toEqual([`mount ${directory}`]);
}

test('a file system survives a driver that is killed at each step of its life', async () => {
  await live({
    killedAt: [
      ...['directory', 'content', 'record', 'rename'].map((step) => `add to volumes/${step}`),
      ...['stage/record', 'stage/mount', 'publish/record', 'publish/mount', 'copy/freeze'],
      ...['add to snapshots/content', 'expand/image', 'unpublish/target', 'unstage/unmount'],
      ...['remove from snapshots/rename', 'remove from volumes/rename'],
    ],
    capability: {
      accessType: { $case: 'mount', value: { fsType: 'ext4' } },
      accessMode: { mode: 1 },
    },
    write: (target) => writeFile(join(target, 'file'), 'kept', { flush: true }),
    read: (target) => readFile(join(target, 'file'), 'utf8'),
  });
}, 90_000);

test('a block device survives a driver that is killed while its devices come and go', async () => {
  await live({
    killedAt: [
      'stage/record',
      'stage/mount',
      'publish/mount',
      'unpublish/target',
      'unstage/unmount',
    ],
    capability: { accessType: { $case: 'block', value: {} }, accessMode: { mode: 1 } },
    write: (target) => writeFile(target, 'kept', { flag: 'r+', flush: true }),
    read: async (target) => (await readFile(target)).toString('utf8', 0, 4),
  });
}, 90_000);
