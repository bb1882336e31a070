import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bindMount } from '../../src/linux/index.ts';
import { change, failWith } from '../harness/csi/index.ts';
import { claim, size, storageClass, volume } from './host-fixture.ts';
import { waitFor } from './patience.ts';
import { driver, host, NAME, nothingLeft, useScriptedHost } from './scripted-host.ts';

useScriptedHost();

const said = (kind: 'PersistentVolumeClaim' | 'PersistentVolume', name: string, pattern: RegExp) =>
  waitFor(`${kind} ${name} to say ${pattern}`, () =>
    pattern.test(host.events(kind, name).join('\n')),
  );

test('a volume that is too small is deleted again, and refused', async () => {
  driver.script(
    'CreateVolume',
    change<{ volume: object }>(({ volume }) => ({ volume: { ...volume, capacityBytes: 7n } })),
  );
  await host.apply(claim('data', 'scripted'));
  await said('PersistentVolumeClaim', 'data', /it has 7 bytes, 1048576 were asked for/);
  await host.bound('data');
  expect(driver.calls.map(({ rpc }) => rpc).filter((rpc) => /Volume$/.test(rpc))).toEqual([
    'CreateVolume',
    'DeleteVolume',
    'CreateVolume',
  ]);
});

test.each([
  ['a handle that is too long', { volumeId: 'x'.repeat(200) }, /at most 128 bytes/],
  ['a handle with control characters', { volumeId: 'a\u0001b' }, /control characters/],
  ['no handle', { volumeId: '' }, /lacks volume_id/],
])('%s is not taken', async (_, lie, message) => {
  driver.script(
    'CreateVolume',
    change<{ volume: object }>(({ volume }) => ({ volume: { ...volume, ...lie } })),
  );
  await host.apply(claim('data', 'scripted'));
  await said('PersistentVolumeClaim', 'data', message);
  await host.bound('data');
});

test('a handle that is a path leads nowhere', async () => {
  const handle = '../../../../../../etc';
  driver.volumes.volumes.set(handle, {
    ...{ name: 'x', capacityBytes: 1n << 30n, volumeContext: {}, contentSource: undefined },
  });
  await mkdir(join(driver.directory, 'content'), { recursive: true });
  driver.volumes.work['NodeStageVolume'] = ({ stagingTargetPath }) => {
    bindMount(join(driver.directory, 'content'), String(stagingTargetPath));
    driver.volumes.staged.set(String(stagingTargetPath), handle);
    return {};
  };
  driver.volumes.work['NodePublishVolume'] = async ({ targetPath }) => {
    await mkdir(String(targetPath));
    bindMount(join(driver.directory, 'content'), String(targetPath));
    driver.volumes.published.set(String(targetPath), handle);
    return {};
  };
  await host.apply(volume('odd', NAME, { volumeHandle: handle }), claim('data', ''));
  const { spec } = await host.publish('data');
  const request = driver.calls.find(({ rpc }) => rpc === 'NodeStageVolume')?.request;
  const { stagingTargetPath } = request as { stagingTargetPath: string };
  for (const path of [spec.targetPath, stagingTargetPath]) {
    expect(path).not.toContain('..');
    expect(path.startsWith(`${host.kubelet}/`)).toBe(true);
  }
  await expect(host.publish('data', '../../etc')).rejects.toThrow(/uid of a pod/);
  await host.release();
});

test('a driver that can do nothing of what is wanted is told so, and not called', async () => {
  driver.claims.controller = [];
  await host.close();
  await host.open();
  await host.apply(claim('data', 'scripted'));
  await said('PersistentVolumeClaim', 'data', /cannot create volumes/);
  expect(driver.count('CreateVolume')).toBe(0);
});

test('a driver that claims what it has not implemented does no harm', async () => {
  driver.script(
    'ControllerExpandVolume',
    failWith('UNIMPLEMENTED', 'no such call'),
    Number.POSITIVE_INFINITY,
  );
  await host.apply(claim('data', 'scripted'));
  await host.bound('data');
  await host.apply(claim('data', 'scripted', size('2Mi')));
  await said('PersistentVolumeClaim', 'data', /VolumeResizeFailed.*no such call/);
  expect(host.get('PersistentVolumeClaim', 'data').status?.capacity).toEqual({ storage: '1Mi' });
});

test('a driver that says "published" and has not is found out', async () => {
  await host.apply(claim('data', 'scripted'));
  for (const lie of [
    async ({ targetPath }: { targetPath?: unknown }) =>
      void (await mkdir(String(targetPath), { recursive: true })),
    async () => {},
  ]) {
    driver.script('NodePublishVolume', async (call) => {
      await lie(call.request as { targetPath?: unknown });
      call.send({});
      call.end();
    });
    await expect(host.publish('data')).rejects.toThrow(/nothing is (mounted )?there/);
  }
  await host.publish('data');
  await host.release();
});

test('a driver that says "unpublished" and has not is not believed', async () => {
  await host.apply(claim('data', 'scripted'));
  await host.publish('data');
  driver.script('NodeUnpublishVolume', async (call) => {
    call.send({});
    call.end();
  });
  await host.release();
  await driver.called('NodeUnpublishVolume', 2);
});

test('a pod that cannot have a volume says why, and leaves nothing', async () => {
  driver.script(
    'NodeStageVolume',
    failWith('INVALID_ARGUMENT', 'I know no ext9'),
    Number.POSITIVE_INFINITY,
  );
  await host.apply(claim('data', 'scripted'));
  await expect(host.publish('data')).rejects.toThrow(/I know no ext9/);
  await host.remove('PersistentVolumeClaim', 'data');
  await nothingLeft();
});

test('an attachment that is refused for good ends the wait at once', async () => {
  driver.script(
    'ControllerPublishVolume',
    failWith('FAILED_PRECONDITION', 'it is on node n7'),
    Number.POSITIVE_INFINITY,
  );
  await host.apply(claim('data', 'scripted'));
  await expect(host.publish('data')).rejects.toThrow(/Cannot attach.*it is on node n7/);
  driver.mend();
  await waitFor('the publication', () =>
    host.publish('data').then(
      () => true,
      () => false,
    ),
  );
});

test('a secret that is missing, or that everyone may read, is told; nothing is asked without it', async () => {
  const parameters = {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the driver's caller who fills it in.
    'csi.storage.k8s.io/provisioner-secret-name': '${pvc.name}-login',
    'csi.storage.k8s.io/provisioner-secret-namespace': 'team',
  };
  await host.apply(storageClass('secret', NAME, { parameters }), claim('data', 'secret'));
  await said(
    'PersistentVolumeClaim',
    'data',
    /Cannot read secret "team\/data-login": there is no file/,
  );
  expect(driver.count('CreateVolume')).toBe(0);
  await mkdir(join(host.secrets, 'team'), { recursive: true });
  const file = join(host.secrets, 'team', 'data-login.yaml');
  await writeFile(file, 'apiVersion: v1\nkind: Secret\nmetadata: {}\ndata: {key: aHVzaA==}\n');
  await chmod(file, 0o644);
  await said('PersistentVolumeClaim', 'data', /everyone may open/);
  await chmod(file, 0o600);
  await host.bound('data');
  expect(driver.calls.find(({ rpc }) => rpc === 'CreateVolume')?.request).toMatchObject({
    secrets: { key: 'hush' },
  });
});

test('a secret that a driver repeats in its error is stripped', async () => {
  await mkdir(join(host.secrets, 'default'), { recursive: true });
  const secret = 'apiVersion: v1\nkind: Secret\nmetadata: {}\nstringData: {key: open-sesame}\n';
  await writeFile(join(host.secrets, 'default', 'login.yaml'), secret, { mode: 0o600 });
  driver.script('NodeStageVolume', failWith('UNAUTHENTICATED', 'open-sesame is wrong'));
  driver.volumes.volumes.set('v', {
    name: 'v',
    capacityBytes: 1n << 30n,
    volumeContext: {},
    contentSource: undefined,
  });
  const nodeStageSecretRef = { name: 'login', namespace: 'default' };
  await host.apply(volume('v', NAME, { nodeStageSecretRef }), claim('data', ''));
  const failure = await host.publish('data').catch((error: Error) => error.message);
  expect(failure).toMatch(/\*\*\*stripped\*\*\* is wrong/);
  expect(host.logged.join('\n')).not.toContain('open-sesame');
});

test.each([
  [
    'an unknown parameter of Kubernetes',
    { 'csi.storage.k8s.io/colour': 'blue' },
    /colour": it is unknown/,
  ],
  ['half a secret', { 'csi.storage.k8s.io/node-stage-secret-name': 'x' }, /must both be given/],
  [
    'a secret whose name is a path',
    {
      'csi.storage.k8s.io/node-stage-secret-name': '../../shadow',
      'csi.storage.k8s.io/node-stage-secret-namespace': 'x',
    },
    /is no name of a secret/,
  ],
])('%s in a class is refused', async (_, parameters, message) => {
  await host.apply(storageClass('odd', NAME, { parameters }), claim('data', 'odd'));
  await said('PersistentVolumeClaim', 'data', message);
  expect(driver.count('CreateVolume')).toBe(0);
});
