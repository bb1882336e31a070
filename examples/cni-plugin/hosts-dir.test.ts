import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Attachment, CniRuntime, ExecInvoker, parseNetworkList } from 'keelson/cni';
import { afterEach, beforeEach, expect, test } from 'vitest';

const PROGRAM = new URL('hosts-dir.ts', import.meta.url).pathname;

let directory: string;
let cni: CniRuntime;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'hosts-dir-'));
  const bin = join(directory, 'bin');
  await mkdir(bin);
  // A plugin program has the name of its type. What stands before it gives the addresses.
  await program(
    join(bin, 'hosts-dir'),
    `exec ${process.execPath} --conditions=keelson-source ${PROGRAM}`,
  );
  const ips = [{ address: '10.1.0.5/24' }, { address: 'fd00::5/64' }];
  const result = JSON.stringify({ cniVersion: '1.1.0', ips });
  await program(join(bin, 'addresses'), `[ $CNI_COMMAND = ADD ] && echo '${result}' || true`);
  cni = new CniRuntime({ invoker: new ExecInvoker(), binDirs: [bin], cacheDir: directory });
});

afterEach(() => rm(directory, { recursive: true }));

async function program(path: string, script: string): Promise<void> {
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
}

function network(more: object = {}) {
  const plugin = { type: 'hosts-dir', dir: join(directory, 'hosts'), domain: 'pods', ...more };
  return parseNetworkList(
    { cniVersion: '1.1.0', name: 'mynet', plugins: [{ type: 'addresses' }, plugin] },
    'the test',
  );
}

function pod(name: string): Attachment {
  const args: [string, string][] = [
    ['IgnoreUnknown', '1'],
    ['K8S_POD_NAMESPACE', 'default'],
    ['K8S_POD_NAME', name],
  ];
  return { containerId: `id-${name}`, netns: '/absent', ifname: 'eth0', args, capabilityArgs: {} };
}

const signal = AbortSignal.timeout(60_000);
const files = () => readdir(join(directory, 'hosts/mynet'));

test('writes names with all addresses, checks them, and takes them away', async () => {
  await cni.addNetworkList(network(), pod('web'), signal);
  const file = join(directory, 'hosts/mynet/id-web@eth0');
  expect(await readFile(file, 'utf8')).toBe(
    '10.1.0.5 web.default.pods\nfd00::5 web.default.pods\n',
  );
  await cni.checkNetworkList(network(), pod('web'), signal);
  await writeFile(file, '10.6.6.6 web.default.pods\n');
  await expect(cni.checkNetworkList(network(), pod('web'), signal)).rejects.toThrow(/as it was/);
  await cni.delNetworkList(network(), pod('web'), signal);
  await cni.delNetworkList(network(), pod('web'), signal);
  expect(await files()).toEqual([]);
});

test('forgets pods that nobody names any more', async () => {
  for (const name of ['old', 'new']) await cni.addNetworkList(network(), pod(name), signal);
  const valid = [{ containerID: 'id-new', ifname: 'eth0' }];
  await cni.gcNetworkList(network(), valid, signal);
  expect(await files()).toEqual(['id-new@eth0']);
});

test('is ready when its directory is there', async () => {
  await expect(cni.statusNetworkList(network(), signal)).rejects.toMatchObject({ cniCode: 50 });
  await mkdir(join(directory, 'hosts'));
  await cni.statusNetworkList(network(), signal);
});

test('refuses a configuration without directory', async () => {
  await expect(
    cni.addNetworkList(network({ dir: undefined }), pod('web'), signal),
  ).rejects.toMatchObject({ cniCode: 7, message: expect.stringContaining('"dir" is missing') });
});
