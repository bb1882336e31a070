import { chmod, lstat, mkdir, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { NEVER, withTimeout } from '../../src/base/index.ts';
import { publishForPod } from '../../src/csi/index.ts';
import { startHostPath } from '../harness/csi/hostpath.ts';
import { ScriptedDriver } from '../harness/csi/index.ts';
import { claim, storageClass, TestHost, volume } from './host-fixture.ts';
import { waitFor } from './patience.ts';

// A machine that is busy takes its time.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const NAME = 'scripted.keelson.test';
const HOSTPATH = 'hostpath.csi.keelson';
const GROUP = 4321;
let driver: ScriptedDriver;
let host: TestHost;
let hostpath: Awaited<ReturnType<typeof startHostPath>>;

beforeEach(async () => {
  driver = await ScriptedDriver.start();
  hostpath = await startHostPath(join(driver.directory, 'hostpath'));
  host = await TestHost.start([driver.endpoint, hostpath.endpoint]);
  await host.apply(storageClass('scripted', NAME), storageClass('local', HOSTPATH));
});

afterEach(async () => {
  await host[Symbol.asyncDispose]();
  await hostpath[Symbol.asyncDispose]();
  await driver[Symbol.asyncDispose]();
});

/** A volume that holds a file, a directory, and a link that leads out. */
async function filled(spec: object = {}, csi: object = {}): Promise<string> {
  driver.volumes.volumes.set('v', {
    name: 'v',
    capacityBytes: 1n << 30n,
    volumeContext: {},
    contentSource: undefined,
  });
  const content = join(driver.directory, 'volumes', 'v');
  await mkdir(join(content, 'directory'), { recursive: true });
  await writeFile(join(content, 'directory', 'file'), '', { mode: 0o600 });
  const outside = join(driver.directory, 'outside');
  await writeFile(outside, '');
  await chmod(outside, 0o600);
  await symlink(outside, join(content, 'link'));
  await host.apply(volume('v', NAME, csi, spec), claim('data', '', spec));
  return outside;
}

test('fsGroup gives a volume to a group, and follows no link', async () => {
  const outside = await filled({}, { fsType: 'ext4' });
  const { spec } = await host.publish('data', 'pod-1', { fsGroup: GROUP });
  const root = await stat(spec.targetPath);
  expect([root.gid, root.mode & 0o7777]).toEqual([GROUP, 0o2775]);
  const file = await stat(join(spec.targetPath, 'directory', 'file'));
  expect([file.gid, file.mode & 0o777]).toEqual([GROUP, 0o660]);
  expect((await lstat(join(spec.targetPath, 'link'))).gid).toBe(GROUP);
  const other = await stat(outside);
  expect([other.gid, other.mode & 0o777]).toEqual([0, 0o600]);
});

test.each([
  ['the volume has no fsType', {}, {}, undefined, {}],
  ['many nodes may write', { accessModes: ['ReadWriteMany'] }, { fsType: 'ext4' }, undefined, {}],
  ['the policy of the driver is None', {}, { fsType: 'ext4' }, 'None', {}],
  ['the pod only reads', {}, { fsType: 'ext4' }, 'File', { readOnly: true }],
])('fsGroup changes nothing when %s', async (_, spec, csi, fsGroupPolicy, use) => {
  if (fsGroupPolicy !== undefined) await host.apply(csiDriver({ fsGroupPolicy }));
  await filled(spec, csi);
  const published = await host.publish('data', 'pod-1', { fsGroup: GROUP, ...use });
  expect((await stat(published.spec.targetPath)).gid).toBe(0);
});

test('policy File gives any volume to the group; OnRootMismatch leaves a right one alone', async () => {
  await host.apply(csiDriver({ fsGroupPolicy: 'File' }));
  await filled();
  const first = await host.publish('data', 'pod-1', { fsGroup: GROUP });
  const file = join(first.spec.targetPath, 'directory', 'file');
  await chmod(file, 0o600);
  await host.publish('data', 'pod-2', { fsGroup: GROUP, fsGroupChangePolicy: 'OnRootMismatch' });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  await host.publish('data', 'pod-3', { fsGroup: GROUP });
  expect((await stat(file)).mode & 0o777).toBe(0o660);
});

test('a driver with VOLUME_MOUNT_GROUP is given the group, and sees to it itself', async () => {
  driver.claims.node = ['STAGE_UNSTAGE_VOLUME', 'VOLUME_MOUNT_GROUP'];
  await host.close();
  await host.open();
  await filled({}, { fsType: 'ext4' });
  const { spec } = await host.publish('data', 'pod-1', { fsGroup: GROUP });
  for (const rpc of ['NodeStageVolume', 'NodePublishVolume']) {
    const { request } = driver.calls.find((call) => call.rpc === rpc)!;
    expect(request).toMatchObject({
      volumeCapability: { accessType: { value: { fsType: 'ext4', volumeMountGroup: '4321' } } },
    });
  }
  expect((await stat(spec.targetPath)).gid).toBe(0);
});

const csiDriver = (spec: object) => ({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'CSIDriver',
  metadata: { name: NAME },
  spec,
});

const pod = (uid: string) => ({ uid, name: uid, namespace: 'default' });

test('a volume that the pod brings itself is neither attached nor staged, and told of the pod', async () => {
  const inline = { volumeName: 'scratch', driver: NAME, volumeAttributes: { foo: 'bar' } };
  const request = { pod: pod('pod-1'), volumes: [{ inline }] };
  await expect(publishForPod(host.host, request, NEVER)).rejects.toThrow(
    /volumeLifecycleModes must name Ephemeral/,
  );
  await host.apply(csiDriver({ volumeLifecycleModes: ['Ephemeral'], podInfoOnMount: true }));
  driver.volumes.work['NodePublishVolume'] = async ({ volumeId, targetPath }) => {
    const { mount } = await import('../../src/linux/index.ts');
    await mkdir(String(targetPath));
    mount({ source: 'tmpfs', target: String(targetPath), type: 'tmpfs' });
    driver.volumes.published.set(String(targetPath), String(volumeId));
    return {};
  };
  const [ready] = await publishForPod(host.host, request, NEVER);
  expect(ready?.hostPath).toBe(
    `${host.kubelet}/pods/pod-1/volumes/kubernetes.io~csi/scratch/mount`,
  );
  expect(driver.calls.find(({ rpc }) => rpc === 'NodePublishVolume')?.request).toMatchObject({
    volumeId: expect.stringMatching(/^csi-[0-9a-f]{64}$/),
    volumeContext: {
      foo: 'bar',
      'csi.storage.k8s.io/pod.name': 'pod-1',
      'csi.storage.k8s.io/pod.uid': 'pod-1',
      'csi.storage.k8s.io/ephemeral': 'true',
    },
  });
  expect([driver.count('ControllerPublishVolume'), driver.count('NodeStageVolume')]).toEqual([
    0, 0,
  ]);
  await host.release();
  expect(await host.leftOnDisk()).toEqual([]);
});

test('without attachRequired nothing is attached', async () => {
  await host.apply(csiDriver({ attachRequired: false }), claim('data', 'scripted'));
  await host.publish('data');
  expect(driver.count('ControllerPublishVolume')).toBe(0);
  await host.release();
});

test('a raw block volume is a device for the pod, and leaves nothing', async () => {
  await host.apply(claim('raw', 'local', { volumeMode: 'Block' }));
  const { spec } = await host.publish('raw');
  expect((await lstat(spec.targetPath)).isBlockDevice()).toBe(true);
  const link = `${host.kubelet}/pods/pod-1/volumeDevices/kubernetes.io~csi/${spec.volumeName}`;
  expect(await readlink(link)).toBe(spec.targetPath);
  await host.release();
  await host.remove('PersistentVolumeClaim', 'raw');
  await waitFor('all to go', () => host.leftRecords().length === 0);
  expect(await host.leftOnDisk()).toEqual([]);
});

test('volumes of a pod come all or none', async () => {
  await host.apply(claim('one', 'local'));
  const volumes = [{ claim: 'one' }, { claim: 'absent' }];
  const request = { pod: pod('pod-1'), volumes };
  await expect(publishForPod(host.host, request, NEVER)).rejects.toThrow(
    /no PersistentVolumeClaim/,
  );
  await host.host.volumes.released('pod-1', withTimeout(NEVER, 60_000));
  await waitFor('the stage to go', () => host.host.store.list('VolumeStage').length === 0);
  expect(await host.leftOnDisk()).toEqual([]);
});

test('mount options of the class reach the driver', async () => {
  await host.apply(
    storageClass('options', NAME, { mountOptions: ['noatime'] }),
    claim('data', 'options'),
  );
  await host.publish('data');
  for (const rpc of ['CreateVolume', 'NodeStageVolume', 'NodePublishVolume']) {
    const { request } = driver.calls.find((call) => call.rpc === rpc)!;
    expect(
      JSON.stringify(request, (_, value) => (typeof value === 'bigint' ? `${value}` : value)),
    ).toContain('noatime');
  }
  await host.release();
});
