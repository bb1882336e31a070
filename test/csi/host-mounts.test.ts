import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { mount, unmountAll } from '../../src/linux/index.ts';
import { claim, storageClass } from './host-fixture.ts';
import { waitFor } from './patience.ts';
import { driver, host, NAME, nothingLeft, useScriptedHost } from './scripted-host.ts';

useScriptedHost();

test('a driver that calls this node otherwise is used with the new id, and left with the old', async () => {
  await host.apply(claim('data', 'scripted'));
  await host.publish('data');
  await host.apply(claim('other', 'scripted'));
  await host.bound('other');
  driver.claims.nodeId = 'renamed';
  driver.vanish();
  await host.close();
  await driver.listen();
  await host.open();
  await host.publish('other', 'pod-2');
  await host.publish('data');
  await expect(host.publish('data', 'pod-3')).rejects.toThrow(/calls this node otherwise/);
  await host.release();
  await waitFor(
    'the detachment',
    () => [...driver.volumes.attached].join() === 'scripted-2@renamed',
  );
  const unpublished = driver.calls.find(({ rpc }) => rpc === 'ControllerUnpublishVolume');
  expect(unpublished?.request).toMatchObject({ nodeId: 'scripted-node' });
  await host.publish('data');
  await host.release();
  await host.release('pod-2');
});

test('a driver that vanishes with volumes mounted: they stay, and go when it is back', async () => {
  await host.apply(claim('data', 'scripted'));
  const { spec } = await host.publish('data');
  driver.vanish();
  await host.host.volumes.release('pod-1');
  await waitFor('a failure', () => host.host.volumes.ofPod('pod-1')[0]?.status.error !== undefined);
  expect((await stat(spec.targetPath)).isDirectory()).toBe(true);
  await driver.listen();
  await host.remove('PersistentVolumeClaim', 'data');
  await nothingLeft();
});

test('a staging path on which something else is mounted is left alone', async () => {
  await host.apply(claim('data', 'scripted'));
  await host.publish('data');
  const { spec } = host.host.store.list('VolumeStage')[0]!;
  await host.release();
  await waitFor('the unstaging', () => host.host.store.list('VolumeStage').length === 0);
  await mkdir(spec.stagingPath, { recursive: true });
  mount({ source: 'tmpfs', target: spec.stagingPath, type: 'tmpfs' });
  await expect(host.publish('data')).rejects.toThrow(/something that Keelson did not mount/);
  expect(driver.count('NodeStageVolume')).toBe(1);
  unmountAll(spec.stagingPath);
  await host.publish('data');
  await host.release();
});

test('a busy mount is reported with who holds it, then taken off; the volume waits for them', async () => {
  await host.apply(claim('data', 'scripted'));
  const { spec } = await host.publish('data');
  driver.volumes.work['NodeUnpublishVolume'] = async ({ targetPath }) => {
    const { umount } = await import('./strict-unmount.ts');
    await umount(String(targetPath));
    driver.volumes.published.delete(String(targetPath));
    return {};
  };
  const holder = spawn('sleep', ['1000'], { cwd: spec.targetPath });
  const ended = once(holder, 'exit');
  try {
    await once(holder, 'spawn');
    await host.release();
    expect(host.logged.join('\n')).toMatch(
      new RegExp(`held by process ${holder.pid} \\(sleep: cwd`),
    );
    expect(host.host.store.list('VolumePublication')).toEqual([]);
    await waitFor('the wait for the holder', () =>
      host.logged.some((line) => line.includes('still uses it')),
    );
    expect(driver.count('NodeUnstageVolume')).toBe(0);
  } finally {
    holder.kill();
    await ended;
  }
  await driver.called('NodeUnstageVolume');
  await host.remove('PersistentVolumeClaim', 'data');
  await nothingLeft();
});

test('a full disk fails what cannot be recorded, and nothing is done unrecorded', async () => {
  await host.close();
  const objects = join(host.directory, 'objects');
  await rm(objects, { recursive: true });
  await mkdir(objects);
  mount({ source: 'tmpfs', target: objects, type: 'tmpfs', data: 'size=64k,nr_inodes=40' });
  try {
    await host.open();
    await host.apply(storageClass('scripted', NAME));
    await expect(
      (async () => {
        for (let i = 0; i < 40; i++) await host.apply(claim(`data-${i}`, ''));
      })(),
    ).rejects.toMatchObject({ code: expect.stringMatching(/ENOSPC|RESOURCE_EXHAUSTED/) });
    expect(driver.count('CreateVolume')).toBe(0);
    const claims = host.host.store.list('PersistentVolumeClaim');
    await host.close();
    await host.open();
    expect(
      host.host.store.list('PersistentVolumeClaim').map(({ metadata }) => metadata.name),
    ).toEqual(claims.map(({ metadata }) => metadata.name));
    expect(host.host.store.unreadable).toEqual([]);
  } finally {
    await host.close();
    unmountAll(objects);
  }
});

test('records that are lost are made again from what lies beside the mounts', async () => {
  await host.apply(claim('data', 'scripted'));
  const { spec } = await host.publish('data');
  await host.close();
  for (const kind of ['VolumePublication', 'VolumeStage']) {
    await rm(join(host.directory, 'objects', kind), { recursive: true });
  }
  await symlink('/etc', join(host.kubelet, 'pods', 'link'));
  const stray = join(host.kubelet, 'pods', 'pod-1', 'volumes', 'kubernetes.io~csi', 'stray');
  await mkdir(join(stray, 'mount'), { recursive: true });
  // Writes that a crash cut off.
  await writeFile(join(stray, 'vol_data.json.0123456789ab.tmp'), '{');
  await writeFile(join(dirname(spec.targetPath), 'vol_data.json.0123456789ab.tmp'), '{');
  await host.open();
  await driver.called('NodeUnpublishVolume');
  await driver.called('NodeUnstageVolume');
  await host.remove('PersistentVolumeClaim', 'data');
  await expect(stat(spec.targetPath)).rejects.toThrow();
  await rm(join(host.kubelet, 'pods', 'link'));
  await nothingLeft();
});
