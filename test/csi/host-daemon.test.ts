import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { listMounts } from '../../src/linux/index.ts';
import { keelson } from '../cli/fake-cri.ts';
import { busyboxImage, pushImage } from '../fixtures/image.ts';
import { type RegistryFixture, startRegistry } from '../fixtures/registry.ts';
import { ScriptedDriver } from '../harness/csi/index.ts';
import { type Daemon, startDaemon } from '../harness/index.ts';
import { waitFor } from './patience.ts';

// A machine that is busy takes its time.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let registry: RegistryFixture;
let daemon: Daemon;
let driver: ScriptedDriver;
let image: string;

const NAME = 'csi-driver.example.com';

beforeAll(async () => {
  registry = await startRegistry();
  image = `${registry.host}/busybox:1`;
  await pushImage({ url: registry.url, repository: 'busybox' }, '1', busyboxImage());
  driver = await ScriptedDriver.start({ name: NAME });
  const secrets = join(driver.directory, 'secrets');
  await mkdir(join(secrets, 'mynamespace'), { recursive: true });
  for (const name of ['mysecret', 'mysecret1', 'mysecret2', 'mysecret3']) {
    const secret = `apiVersion: v1\nkind: Secret\nmetadata: {name: ${name}}\nstringData: {key: hush}\n`;
    await writeFile(join(secrets, 'mynamespace', `${name}.yaml`), secret, { mode: 0o600 });
  }
  daemon = await startDaemon({
    config: `[csi]\nendpoints = ["${driver.endpoint}"]\nsecrets_dir = "${secrets}"\nnode_name = "n1"\n`,
  });
});

afterAll(async () => {
  try {
    await daemon?.[Symbol.asyncDispose]();
  } finally {
    await driver?.[Symbol.asyncDispose]();
    await registry?.stop();
  }
});

async function output(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await keelson(['-r', daemon.uri, ...args]);
  expect({ code, stderr: stderr.replace(/^(Pull|Download).*\n/gm, '') }).toEqual({
    code: 0,
    stderr: '',
  });
  return stdout;
}

/** As they stand in the introduction of CSI for Kubernetes, with another driver's name. */
const MANIFESTS = `
kind: StorageClass
apiVersion: storage.k8s.io/v1
metadata:
  name: fast-storage
provisioner: ${NAME}
parameters:
  type: pd-ssd
  csi.storage.k8s.io/provisioner-secret-name: mysecret
  csi.storage.k8s.io/provisioner-secret-namespace: mynamespace
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: my-request-for-storage
spec:
  accessModes:
  - ReadWriteOnce
  resources:
    requests:
      storage: 5Gi
  storageClassName: fast-storage
---
apiVersion: v1
kind: PersistentVolume
metadata:
  name: my-manually-created-pv
spec:
  capacity:
    storage: 5Gi
  accessModes:
    - ReadWriteOnce
  persistentVolumeReclaimPolicy: Retain
  csi:
    driver: ${NAME}
    volumeHandle: existingVolumeName
    readOnly: false
    fsType: ext4
    volumeAttributes:
      foo: bar
    controllerPublishSecretRef:
      name: mysecret1
      namespace: mynamespace
    nodeStageSecretRef:
      name: mysecret2
      namespace: mynamespace
    nodePublishSecretRef:
      name: mysecret3
      namespace: mynamespace
`;

test('the manifests of the walk-through give a pod its volume, which outlives the pod', async () => {
  const file = join(daemon.directory, 'manifests.yaml');
  await writeFile(file, MANIFESTS);
  expect(await output('volume', 'apply', '-f', file)).toBe(
    'StorageClass fast-storage created\nPersistentVolumeClaim my-request-for-storage created\nPersistentVolume my-manually-created-pv created\n',
  );
  expect(await output('volume', 'apply', '-f', file)).toMatch(/^(.* unchanged\n){3}$/);
  const volume = ['--volume', 'my-request-for-storage:/data'];
  await output('run', '--rm', ...volume, image, 'sh', '-c', 'echo kept >/data/file');
  const read = ['run', '--rm', '--volume', 'my-request-for-storage:/data:ro', image, 'sh', '-c'];
  const { stdout } = await keelson([
    '-r',
    daemon.uri,
    ...read,
    'cat /data/file; echo x >/data/y || echo refused',
  ]);
  expect(stdout).toBe('kept\nrefused\n');
  const created = driver.calls.find(({ rpc }) => rpc === 'CreateVolume')?.request;
  expect(created).toMatchObject({ parameters: { type: 'pd-ssd' }, secrets: { key: 'hush' } });
  expect(daemon.log).not.toContain('hush');

  const table = await output('volume', 'ls');
  expect(table).toMatch(/PersistentVolumeClaim +my-request-for-storage +Bound +5Gi +fast-storage/);
  expect(table).toMatch(/PersistentVolume +my-manually-created-pv +Available +5Gi/);
  expect(await output('csi', 'drivers')).toMatch(
    /csi-driver\.example\.com +1\.0\.0-scripted +scripted-node/,
  );
});

test('the volume prepared by hand goes to a claim without class', async () => {
  driver.volumes.volumes.set('existingVolumeName', {
    ...{ name: 'existingVolumeName', capacityBytes: 5n << 30n, volumeContext: {} },
    contentSource: undefined,
  });
  await mkdir(join(driver.directory, 'volumes', 'existingVolumeName'), { recursive: true });
  expect(await output('volume', 'create', 'by-hand', '--size', '5Gi', '--class', '')).toBe(
    'by-hand\n',
  );
  await output('run', '--rm', '--volume', 'by-hand:/data', image, 'touch', '/data/file');
  await output('volume', 'rm', 'by-hand');
  await waitFor('the volume to be taken down', () => driver.volumes.staged.size === 0);
  await output('volume', 'rm', 'volume/my-manually-created-pv');
  expect(driver.calls.filter(({ rpc }) => rpc === 'DeleteVolume')).toEqual([]);
});

test('volumes are made, grown, copied and removed from the command line', async () => {
  const apply = (manifest: object) =>
    writeFile(join(daemon.directory, 'm.json'), JSON.stringify(manifest));
  await apply({
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: {
      name: 'standard',
      annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' },
    },
    provisioner: NAME,
    allowVolumeExpansion: true,
    volumeBindingMode: 'WaitForFirstConsumer',
  });
  await output('volume', 'apply', '-f', join(daemon.directory, 'm.json'));
  await apply({
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshotClass',
    metadata: {
      name: 'snaps',
      annotations: { 'snapshot.storage.kubernetes.io/is-default-class': 'true' },
    },
    driver: NAME,
    deletionPolicy: 'Delete',
  });
  await output('volume', 'apply', '-f', join(daemon.directory, 'm.json'));
  await output('volume', 'create', 'data', '--size', '1Gi');
  await output('run', '-d', '--name', 'user', '--volume', 'data:/data', image, 'sleep', '1000');
  await output('volume', 'snapshot', 'data', 'snap');
  await output('volume', 'expand', 'data', '2Gi');
  await waitFor('the growth', async () => /data +Bound +2Gi/.test(await output('volume', 'ls')));
  await output('volume', 'create', 'copy', '--size', '2Gi', '--from', 'snapshot/snap');
  const report = JSON.parse(await output('volume', 'inspect', 'data', '-o', 'json'));
  expect(report.object.status.phase).toBe('Bound');
  expect(Object.keys(report.health)).toEqual(['user']);
  expect(await output('volume', 'inspect', 'data', '-o', 'table')).toContain('VolumePublication');

  // A claim in use stays until its pod goes, over a restart of the daemon, too.
  await output('volume', 'rm', 'data', '--wait', '0');
  expect(await output('volume', 'ls', '--kind', 'claim')).toMatch(/data +Terminating/);
  await daemon.kill9();
  await daemon.start();
  const pod = (await output('pods', '-q', '--name', '^user$')).trim();
  await output('rmp', '-f', pod);
  await waitFor('the claim to go', async () => !/ data /.test(await output('volume', 'ls')));
  await output('volume', 'rm', 'snapshot/snap', 'copy', 'my-request-for-storage');
  await waitFor(
    'all to go',
    () => driver.volumes.volumes.size === 1 && driver.volumes.snapshots.size === 0,
  );
  expect(
    listMounts().filter(({ target }) => target.startsWith(`${daemon.paths.root}/csi`)),
  ).toEqual([]);
});

test('what cannot be is told', async () => {
  const fails = async (...args: string[]) => (await keelson(['-r', daemon.uri, ...args])).stderr;
  expect(await fails('volume', 'inspect', 'absent')).toMatch(
    /there is no PersistentVolumeClaim "default\/absent"/,
  );
  expect(await fails('volume', 'rm', 'odd/absent')).toMatch(/is no object/);
  expect(await fails('volume', 'create', '../x', '--size', '1Gi')).toMatch(
    /metadata\.name: must be a name/,
  );
  expect(await fails('volume', 'create', 'x'.repeat(300), '--size', '1Gi')).toMatch(/at most 253/);
  expect(await fails('run', '--volume', 'a:b', image)).toMatch(/is no volume: write CLAIM/);
  expect(await fails('run', '--rm', '--volume', 'absent:/data', image)).toMatch(
    /no PersistentVolumeClaim/,
  );
});
