import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { status as codes } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CgroupDriver } from '../../src/gen/runtime/v1/api.ts';
import { connect, type Daemon, podConfig, startDaemon, waitFor } from '../harness/index.ts';
import { codeOf } from './suite.ts';

let daemon: Daemon;

beforeAll(async () => {
  daemon = await startDaemon({ network: 'none' });
});
afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
});

test('Version has all four fields, whatever version the client has', async () => {
  const expected = {
    version: '0.1.0',
    runtimeName: 'keelson',
    runtimeVersion: expect.stringMatching(/^\d+\.\d+\.\d+/),
    runtimeApiVersion: 'v1',
  };
  expect(await daemon.runtime.version()).toEqual(expected);
  expect(await daemon.runtime.version({ version: '0.1.0' })).toEqual(expected);
  expect(await daemon.runtime.version({ version: 'v99' })).toEqual(expected);
});

test('the network is not ready, with a reason, until a configuration appears', async () => {
  const network = async () => {
    const { status } = await daemon.runtime.status();
    const byType = new Map(status!.conditions.map((each) => [each.type, each]));
    expect(byType.get('RuntimeReady')).toMatchObject({ status: true });
    return byType.get('NetworkReady')!;
  };
  const before = await network();
  expect(before).toMatchObject({ status: false, reason: 'NetworkPluginNotReady' });
  expect(before.message).toContain(daemon.paths.cniConfDir);
  expect(await codeOf(daemon.runtime.runPodSandbox({ config: podConfig() }))).not.toBe('OK');
  const conflist = { cniVersion: '1.0.0', name: 'lo', plugins: [{ type: 'loopback' }] };
  const path = join(daemon.paths.cniConfDir, '10-lo.conflist');
  await writeFile(`${path}.new`, JSON.stringify(conflist));
  await rename(`${path}.new`, path);
  await waitFor('readiness', async () => (await network()).status);
  expect(await network()).toMatchObject({ status: true, reason: '', message: '' });
});

test('a sandbox on the host network needs no network configuration', async () => {
  const config = podConfig({
    linux: { securityContext: { namespaceOptions: { network: 2, pid: 1 } } },
  });
  expect(await codeOf(daemon.runtime.runPodSandbox({ config }))).toBe('OK');
});

test('Status names the runtime handlers, the default one also under no name', async () => {
  const { runtimeHandlers, features, info } = await daemon.runtime.status();
  const names = runtimeHandlers.map((handler) => handler.name);
  expect(names).toEqual(expect.arrayContaining(['', 'crun', 'runc']));
  expect(new Set(names).size).toBe(names.length);
  for (const handler of runtimeHandlers) expect(handler.features).toBeDefined();
  expect(features!.supplementalGroupsPolicy).toBe(true);
  expect(info).toEqual({});
});

test('verbose Status has the configuration in effect as JSON', async () => {
  const { info } = await daemon.runtime.status({ verbose: true });
  expect(JSON.parse(info['config']!)).toMatchObject({ root: daemon.paths.root });
});

test('RuntimeConfig tells the cgroup driver', async () => {
  const { linux } = await daemon.runtime.runtimeConfig();
  // No systemd on the machines that run this.
  expect(linux!.cgroupDriver).toBe(CgroupDriver.CGROUPFS);
});

test('UpdateRuntimeConfig takes pod CIDRs and refuses what is none', async () => {
  const update = (podCidr: string) =>
    codeOf(daemon.runtime.updateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr } } }));
  expect(await codeOf(daemon.runtime.updateRuntimeConfig())).toBe('OK');
  expect(await update('')).toBe('OK');
  expect(await update('10.244.3.0/24')).toBe('OK');
  expect(await update('10.244.3.0/24,fd00::/64')).toBe('OK');
  for (const bad of ['10.244.3.0', '10.244.3.0/33', 'fd00::/129', 'x/24', '10.0.0.0/-1', '/24']) {
    expect(await update(bad), bad).toBe('INVALID_ARGUMENT');
  }
});

test('both services answer under the package name of old kubelets', async () => {
  using alpha = connect(daemon.uri, { package: 'runtime.v1alpha2' });
  expect((await alpha.runtime.version()).runtimeName).toBe('keelson');
  expect((await alpha.runtime.status()).status!.conditions.length).toBeGreaterThanOrEqual(2);
  expect((await alpha.images.imageFsInfo()).imageFilesystems).toHaveLength(1);
  expect(await codeOf(alpha.runtime.containerStatus({ containerId: 'ab' }))).toBe('NOT_FOUND');
});

test('what is not served answers UNIMPLEMENTED', async () => {
  const { runtime } = daemon;
  expect(await codeOf(runtime.checkpointPod())).toBe('UNIMPLEMENTED');
  expect(await codeOf(runtime.restorePod())).toBe('UNIMPLEMENTED');
  using other = connect(daemon.uri, { package: 'runtime.v2' });
  expect(await codeOf(other.runtime.version())).toBe('UNIMPLEMENTED');
});

test('a message beyond 16 MiB is refused, and the daemon goes on', async () => {
  const call = daemon.runtime.version({ version: 'x'.repeat(17 << 20) });
  await expect(call).rejects.toMatchObject({ code: codes.RESOURCE_EXHAUSTED });
  expect((await daemon.runtime.version()).version).toBe('0.1.0');
});

test('a call of 15 MiB is taken', async () => {
  const request = { version: 'x'.repeat(15 << 20) };
  expect((await daemon.runtime.version(request)).version).toBe('0.1.0');
});
