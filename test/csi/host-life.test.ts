import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ScriptedDriver } from '../harness/csi/index.ts';
import { claim, size, storageClass, TestHost, volume } from './host-fixture.ts';
import { waitFor } from './patience.ts';

// A machine that is busy takes its time.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const NAME = 'scripted.keelson.test';
let driver: ScriptedDriver;
let test_: TestHost;

beforeEach(async () => {
  driver = await ScriptedDriver.start();
  test_ = await TestHost.start([driver.endpoint]);
  await test_.apply(storageClass('scripted', NAME, { allowVolumeExpansion: true }));
});

afterEach(async () => {
  await test_[Symbol.asyncDispose]();
  await driver[Symbol.asyncDispose]();
});

const rpcs = () =>
  driver.calls
    .map(({ rpc }) => rpc)
    .filter((rpc) => !/Get(Plugin|Info|Cap)|Probe|Capabilities/.test(rpc));

test('a claim is provisioned, attached, staged, published, and all of it in reverse', async () => {
  await test_.apply(claim('data', 'scripted'));
  const { spec, status } = await test_.publish('data');
  expect(status.phase).toBe('Published');
  const pv = test_.volumeOf('data');
  expect(spec.targetPath).toBe(
    `${test_.kubelet}/pods/pod-1/volumes/kubernetes.io~csi/${pv.metadata.name}/mount`,
  );
  await writeFile(join(spec.targetPath, 'hello'), 'world');
  expect(rpcs().filter((rpc) => rpc !== 'NodeGetInfo')).toEqual([
    'CreateVolume',
    'ControllerPublishVolume',
    'NodeStageVolume',
    'NodePublishVolume',
  ]);
  const published = driver.calls.find(({ rpc }) => rpc === 'NodePublishVolume')?.request;
  expect(published).toMatchObject({ publishContext: { device: 'scripted-scripted-1' } });
  const created = driver.calls.find(({ rpc }) => rpc === 'CreateVolume')?.request;
  expect(created).toMatchObject({
    name: pv.metadata.name,
    capacityRange: { requiredBytes: 1048576n },
    parameters: { 'csi.storage.k8s.io/pvc/name': 'data' },
  });

  await test_.release();
  await waitFor('the detachment', () => driver.volumes.attached.size === 0);
  expect(rpcs().filter((rpc) => rpc.includes('Un'))).toEqual([
    'NodeUnpublishVolume',
    'NodeUnstageVolume',
    'ControllerUnpublishVolume',
  ]);
  expect(driver.volumes.volumes.size).toBe(1);
  await test_.remove('PersistentVolumeClaim', 'data');
  await test_.gone('PersistentVolume', pv.metadata.name);
  expect(driver.volumes.volumes.size).toBe(0);
  expect(test_.leftRecords()).toEqual([]);
  expect(await test_.leftOnDisk()).toEqual([]);
});

test('two pods share what is staged once; asked twice, a pod has it once', async () => {
  await test_.apply(claim('data', 'scripted'));
  const [first, again] = await Promise.all([test_.publish('data'), test_.publish('data')]);
  expect(again).toEqual(first);
  await test_.publish('data', 'pod-2');
  await test_.publish('data');
  expect(driver.count('NodeStageVolume')).toBe(1);
  expect(driver.count('NodePublishVolume')).toBe(2);
  await test_.release();
  expect(driver.count('NodeUnstageVolume')).toBe(0);
  await test_.release('pod-2');
  await driver.called('NodeUnstageVolume');
});

test('a pod keeps the claim that it uses, and the claim its volume', async () => {
  await test_.apply(claim('data', 'scripted'));
  await test_.publish('data');
  await test_.host.store.delete({ kind: 'PersistentVolumeClaim', name: 'data' });
  await expect(test_.publish('data', 'pod-2')).rejects.toThrow(/being deleted/);
  expect(driver.count('DeleteVolume')).toBe(0);
  await test_.release();
  await test_.gone('PersistentVolumeClaim', 'data');
  await driver.called('DeleteVolume');
});

test('ReadWriteOncePod lets one pod in', async () => {
  await test_.apply(claim('data', 'scripted', { accessModes: ['ReadWriteOncePod'] }));
  await test_.publish('data');
  await expect(test_.publish('data', 'pod-2')).rejects.toThrow(/for one pod only.*"pod-1" has it/);
  await test_.release();
  await test_.publish('data', 'pod-2');
});

test('the limit of a driver holds', async () => {
  driver.claims.maxVolumesPerNode = 1n;
  await test_.close();
  await test_.open();
  await test_.apply(claim('one', 'scripted'), claim('two', 'scripted'));
  await test_.publish('one');
  await test_.publish('one', 'pod-2');
  await expect(test_.publish('two')).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
  await test_.release();
});

test('a claim that waits for its first consumer gets its volume with that', async () => {
  await test_.apply(storageClass('late', NAME, { volumeBindingMode: 'WaitForFirstConsumer' }));
  await test_.apply(claim('data', 'late'));
  await waitFor('the binder', () => test_.events('PersistentVolumeClaim', 'data').length > 0);
  expect(driver.count('CreateVolume')).toBe(0);
  await test_.publish('data');
  expect(driver.count('CreateVolume')).toBe(1);
});

test('a volume prepared by hand is used with its attributes and secrets, and retained', async () => {
  driver.volumes.work['CreateVolume']!({ name: 'existing', parameters: {} });
  const secret = { name: 'login', namespace: 'team' };
  await import('node:fs/promises').then(async ({ mkdir, writeFile: write }) => {
    await mkdir(join(test_.secrets, 'team'), { recursive: true });
    const manifest =
      'apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {password: open-sesame}\n';
    await write(join(test_.secrets, 'team', 'login.yaml'), manifest, { mode: 0o600 });
  });
  await waitFor('the volume', () => driver.volumes.volumes.size === 1);
  const csi = {
    volumeHandle: 'scripted-1',
    volumeAttributes: { foo: 'bar' },
    nodeStageSecretRef: secret,
    nodePublishSecretRef: secret,
    controllerPublishSecretRef: secret,
  };
  await test_.apply(volume('by-hand', NAME, csi), claim('data', ''));
  await test_.publish('data', 'pod-1', { readOnly: true });
  for (const rpc of ['ControllerPublishVolume', 'NodeStageVolume', 'NodePublishVolume']) {
    const { request } = driver.calls.find((call) => call.rpc === rpc)!;
    expect(request).toMatchObject({
      secrets: { password: 'open-sesame' },
      volumeContext: { foo: 'bar' },
    });
  }
  expect(driver.calls.find(({ rpc }) => rpc === 'NodePublishVolume')?.request).toMatchObject({
    readonly: true,
  });
  await test_.release();
  await test_.remove('PersistentVolumeClaim', 'data');
  await waitFor(
    'the release',
    () => test_.get('PersistentVolume', 'by-hand').status?.phase === 'Released',
  );
  await test_.remove('PersistentVolume', 'by-hand');
  expect(driver.count('DeleteVolume')).toBe(0);
  const everything =
    test_.logged.join('\n') + JSON.stringify(test_.host.store.list('PersistentVolume'));
  expect(everything).not.toContain('open-sesame');
  const { readdir } = await import('node:fs/promises');
  for (const entry of await readdir(test_.directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.parentPath.startsWith(test_.secrets)) continue;
    expect(await readFile(join(entry.parentPath, entry.name), 'utf8')).not.toContain('open-sesame');
  }
});

test('a volume grows at the driver, then on the node, also while a pod has it', async () => {
  await test_.apply(claim('data', 'scripted'));
  await test_.bound('data');
  await test_.apply(claim('data', 'scripted', size('2Mi')));
  await waitFor('the pending growth', () =>
    test_
      .get('PersistentVolumeClaim', 'data')
      .status?.conditions?.some(({ type }) => type === 'FileSystemResizePending'),
  );
  expect(test_.get('PersistentVolumeClaim', 'data').status?.capacity).toEqual({ storage: '1Mi' });
  await test_.publish('data');
  const grown = (storage: string) =>
    waitFor(
      `${storage}`,
      () => test_.get('PersistentVolumeClaim', 'data').status?.capacity?.storage === storage,
    );
  await grown('2Mi');
  await test_.apply(claim('data', 'scripted', size('3Mi')));
  await grown('3Mi');
  expect(driver.count('NodeExpandVolume')).toBe(2);
  expect(test_.get('PersistentVolumeClaim', 'data').status?.conditions).toEqual([]);
});

test('without allowVolumeExpansion a volume does not grow', async () => {
  await test_.apply(storageClass('fixed', NAME), claim('data', 'fixed'));
  await test_.bound('data');
  await test_.apply(claim('data', 'fixed', size('2Mi')));
  await waitFor('the refusal', () =>
    test_
      .events('PersistentVolumeClaim', 'data')
      .some((each) => each.includes('allowVolumeExpansion')),
  );
  expect(driver.count('ControllerExpandVolume')).toBe(0);
});

const snapshot = (name: string, source: object) => ({
  apiVersion: 'snapshot.storage.k8s.io/v1',
  kind: 'VolumeSnapshot',
  metadata: { name },
  spec: { source },
});

const snapshotClass = (spec: object = {}) => ({
  apiVersion: 'snapshot.storage.k8s.io/v1',
  kind: 'VolumeSnapshotClass',
  metadata: {
    name: 'snaps',
    annotations: { 'snapshot.storage.kubernetes.io/is-default-class': 'true' },
  },
  driver: NAME,
  deletionPolicy: 'Delete',
  ...spec,
});

const ready = (name: string) =>
  waitFor('the snapshot', () => test_.get('VolumeSnapshot', name).status?.readyToUse === true);

test('a snapshot is cut, restored, and deleted with its content; a clone is made', async () => {
  await test_.apply(snapshotClass(), claim('data', 'scripted'));
  await test_.bound('data');
  await test_.apply(snapshot('snap', { persistentVolumeClaimName: 'data' }));
  await ready('snap');
  expect(test_.get('VolumeSnapshot', 'snap').status).toMatchObject({ restoreSize: '1048576' });
  const source = { kind: 'VolumeSnapshot', name: 'snap', apiGroup: 'snapshot.storage.k8s.io' };
  await test_.apply(claim('restored', 'scripted', { dataSource: source }));
  await test_.apply(
    claim('clone', 'scripted', { dataSource: { kind: 'PersistentVolumeClaim', name: 'data' } }),
  );
  await test_.apply(claim('small', 'scripted', { dataSource: source, ...size('1Ki') }));
  await test_.bound('restored');
  await test_.bound('clone');
  const requests = driver.calls
    .filter(({ rpc }) => rpc === 'CreateVolume')
    .map(({ request }) => request);
  const sources = requests.map(
    (each) =>
      (each as { volumeContentSource?: { type: { $case: string } } }).volumeContentSource?.type
        .$case,
  );
  expect(sources).toEqual(expect.arrayContaining(['snapshot', 'volume']));
  expect(test_.events('PersistentVolumeClaim', 'small').join()).toMatch(/needs 1048576 bytes/);
  await test_.remove('VolumeSnapshot', 'snap');
  expect(driver.volumes.snapshots.size).toBe(0);
  expect(test_.host.store.list('VolumeSnapshotContent')).toEqual([]);
});

test('a snapshot that is there already is found by its handle', async () => {
  await test_.apply(snapshotClass(), claim('data', 'scripted'));
  await test_.bound('data');
  await driver.volumes.work['CreateSnapshot']!({ name: 'old', sourceVolumeId: 'scripted-1' });
  const [handle] = driver.volumes.snapshots.keys();
  await test_.apply(
    {
      apiVersion: 'snapshot.storage.k8s.io/v1',
      kind: 'VolumeSnapshotContent',
      metadata: { name: 'old-content' },
      spec: {
        deletionPolicy: 'Retain',
        driver: NAME,
        source: { snapshotHandle: handle },
        volumeSnapshotRef: { name: 'old', namespace: 'default' },
      },
    },
    snapshot('old', { volumeSnapshotContentName: 'old-content' }),
  );
  await ready('old');
  await test_.remove('VolumeSnapshot', 'old');
  await test_.remove('VolumeSnapshotContent', 'old-content');
  expect(driver.volumes.snapshots.size).toBe(1);
});
