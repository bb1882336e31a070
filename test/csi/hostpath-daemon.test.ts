import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keelson } from '../cli/fake-cri.ts';
import { busyboxImage, pushImage } from '../fixtures/image.ts';
import { type RegistryFixture, startRegistry } from '../fixtures/registry.ts';
import {
  type Daemon,
  killLeftovers,
  leftoversUnder,
  startDaemon,
  waitFor,
} from '../harness/index.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

let directory: string;
let registry: RegistryFixture;
let daemon: Daemon;
let driver: ChildProcess;
let image: string;

/** The host-path driver as a StorageClass of its own, and the default one. */
const CLASSES = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: local-path
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: hostpath.csi.keelson
parameters: {csi.storage.k8s.io/fstype: ext4}
volumeBindingMode: WaitForFirstConsumer
allowVolumeExpansion: true
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata:
  name: local-path
  annotations: {snapshot.storage.kubernetes.io/is-default-class: "true"}
driver: hostpath.csi.keelson
deletionPolicy: Delete
`;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-csi-'));
  registry = await startRegistry();
  image = `${registry.host}/busybox:1`;
  await pushImage({ url: registry.url, repository: 'busybox' }, '1', busyboxImage());
  daemon = await startDaemon({ config: '[csi]\nnode_name = "n1"\n' });
  const socket = join(directory, 'csi.sock');
  const registrations = join(daemon.paths.root, 'csi/kubelet/plugins_registry');
  const places = ['--endpoint', socket, '--root', join(directory, 'root'), '--node-id', 'n1'];
  driver = spawn(
    process.execPath,
    [MAIN, 'csi', 'hostpath', ...places, '--registration-dir', registrations],
    { stdio: 'ignore' },
  );
});

afterAll(async () => {
  // First: its command line names the daemon's directory, where nothing may be left.
  const ended = once(driver, 'exit');
  driver.kill('SIGTERM');
  await ended;
  try {
    await daemon?.[Symbol.asyncDispose]();
  } finally {
    await killLeftovers(directory);
    await rm(directory, { recursive: true, force: true });
    await registry?.stop();
  }
});

async function output(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await keelson(['-r', daemon.uri, ...args]);
  expect(code, stderr).toBe(0);
  return stdout;
}

const inPod = (claim: string, script: string) =>
  output('run', '--rm', '--volume', `${claim}:/data`, image, 'sh', '-c', script);

test('the host-path driver registers itself, and gives pods file systems of their size', async () => {
  await waitFor('the registration', async () =>
    (await output('csi', 'drivers')).includes('hostpath.csi.keelson'),
  );
  const file = join(directory, 'classes.yaml');
  await writeFile(file, CLASSES);
  await output('volume', 'apply', '-f', file);
  await output('volume', 'create', 'data', '--size', '16Mi');
  await inPod('data', 'echo kept >/data/file');
  // The size is a limit.
  const full = await inPod(
    'data',
    'dd if=/dev/zero of=/data/big bs=1M count=32 2>&1; rm /data/big',
  );
  expect(full).toContain('No space left on device');
  await output('volume', 'snapshot', 'data', 'snap');
  await output('volume', 'create', 'copy', '--size', '32Mi', '--from', 'snapshot/snap');
  expect(await inPod('copy', 'cat /data/file; df -m /data')).toMatch(
    /^kept\n.* (2[4-9]|3[0-2]) +\d+ +\d+ +\d+% \/data\n$/s,
  );
  await output('volume', 'expand', 'data', '64Mi');
  await waitFor('the growth', async () => {
    await inPod('data', 'true');
    return /data +Bound +64Mi/.test(await output('volume', 'ls'));
  });
  expect(await inPod('data', 'df -m /data')).toMatch(/ (5[0-9]|6[0-4]) +\d+ +\d+ +\d+% \/data\n$/);
  await output('volume', 'rm', 'copy', 'snapshot/snap', 'data');
  for (const name of ['volumes', 'snapshots', 'nodes', 'new', 'trash']) {
    await waitFor(`${name} to be empty`, async () => {
      return (await readdir(join(directory, 'root', name))).length === 0;
    });
  }
  const left = await leftoversUnder(directory);
  expect(left.filter((line) => line.startsWith('mount'))).toEqual([]);
}, 90_000);
