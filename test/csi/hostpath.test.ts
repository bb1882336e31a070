import { existsSync } from 'node:fs';
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SILENT } from '../../src/base/index.ts';
import { HostPathDriver } from '../../src/csi/hostpath/index.ts';
import { EPHEMERAL, mountAt } from '../../src/csi/kit/index.ts';
import { CsiClient } from '../../src/csi/protocol/index.ts';
import * as csi from '../../src/gen/csi/v1/csi.ts';
import { bindMount, listMounts, loopsOf, mount, unmount } from '../../src/linux/index.ts';
import { startHostPath } from '../harness/csi/index.ts';
import { killLeftovers } from '../harness/index.ts';

const MiB = 1n << 20n;

let directory: string;
let driver: Awaited<ReturnType<typeof startHostPath>>;
let client: CsiClient;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-csi-'));
  // A disk that is soon full.
  mount({ source: 'tmpfs', target: directory, type: 'tmpfs', data: 'size=64m' });
  driver = await startHostPath(directory);
  client = new CsiClient(driver.endpoint);
});

afterEach(async () => {
  client[Symbol.dispose]();
  await driver[Symbol.asyncDispose]();
  await killLeftovers(directory);
  await rm(directory, { recursive: true, force: true });
});

async function restart(): Promise<void> {
  await driver[Symbol.asyncDispose]();
  driver = await startHostPath(directory);
}

type Capability = csi.DeepPartial<csi.VolumeCapability>;
const mountOf = (fsType = '', mountFlags: string[] = [], mode = 1): Capability => ({
  accessType: { $case: 'mount', value: { fsType, mountFlags } },
  accessMode: { mode: mode as csi.VolumeCapability_AccessMode_Mode },
});
const BLOCK: Capability = { accessType: { $case: 'block', value: {} }, accessMode: { mode: 1 } };

let last = 0;
async function create(
  capability: Capability,
  more: csi.DeepPartial<csi.CreateVolumeRequest> = {},
): Promise<csi.Volume> {
  const { volume } = await client.controller.createVolume(
    csi.CreateVolumeRequest.fromPartial({
      name: `volume-${++last}`,
      volumeCapabilities: [capability],
      capacityRange: { requiredBytes: 4n * MiB },
      ...more,
    }),
  );
  return volume ?? csi.Volume.fromPartial({});
}

async function stage(volumeId: string, capability: Capability, path = ''): Promise<string> {
  const stagingTargetPath = path === '' ? join(directory, `staging-${++last}`) : path;
  await mkdir(stagingTargetPath, { recursive: true });
  await client.node.nodeStageVolume(
    csi.NodeStageVolumeRequest.fromPartial({
      ...{ volumeId, stagingTargetPath, volumeCapability: capability },
    }),
  );
  return stagingTargetPath;
}

async function publish(
  volumeId: string,
  capability: Capability,
  more: csi.DeepPartial<csi.NodePublishVolumeRequest> = {},
): Promise<string> {
  const targetPath = more.targetPath ?? join(directory, `target-${++last}`);
  await client.node.nodePublishVolume(
    csi.NodePublishVolumeRequest.fromPartial({
      ...{ volumeId, targetPath, volumeCapability: capability },
      ...more,
    }),
  );
  return targetPath;
}

const contents = async (name: string) => readdir(join(driver.root, name));
const nothingIsLeft = async () => {
  for (const name of ['volumes', 'snapshots', 'nodes', 'new', 'trash']) {
    expect(await contents(name), name).toEqual([]);
  }
};

test('a full disk is RESOURCE_EXHAUSTED, and nothing is left', async () => {
  const full = { code: 'RESOURCE_EXHAUSTED' };
  await expect(
    create(BLOCK, { capacityRange: { requiredBytes: 1n << 40n } }),
  ).rejects.toMatchObject(full);
  // Thin volumes may be larger than what is there for all of them; what is set aside may not.
  const parameters = { provisioning: 'thick' };
  const range = { capacityRange: { requiredBytes: 40n * MiB } };
  const thick = await create(BLOCK, { ...range, parameters });
  const blocks = (await stat(join(driver.root, 'volumes', thick.volumeId, 'image'))).blocks;
  expect(blocks * 512).toBeGreaterThanOrEqual(Number(40n * MiB));
  await expect(create(BLOCK, { ...range, parameters })).rejects.toMatchObject(full);
  const snapshot = csi.CreateSnapshotRequest.fromPartial({
    ...{ name: 's', sourceVolumeId: thick.volumeId },
  });
  // A copy that meets the end of the disk on its way.
  const staging = await stage(thick.volumeId, BLOCK);
  const target = await publish(thick.volumeId, BLOCK, { stagingTargetPath: staging });
  await writeFile(target, Buffer.alloc(Number(40n * MiB), 1), { flag: 'r+' });
  await expect(client.controller.createSnapshot(snapshot)).rejects.toMatchObject(full);
  expect(await contents('snapshots')).toEqual([]);
  expect(await contents('new')).toEqual([]);
  await client.node.nodeUnpublishVolume({ volumeId: thick.volumeId, targetPath: target });
  await client.node.nodeUnstageVolume({ volumeId: thick.volumeId, stagingTargetPath: staging });
  await client.controller.deleteVolume({ volumeId: thick.volumeId, secrets: {} });
  await nothingIsLeft();
});

test('what does not fit a request is refused', async () => {
  const code = async (work: Promise<unknown>) =>
    work.then(
      () => 'OK',
      (error: { code: string }) => error.code,
    );
  const sized = (requiredBytes: bigint, limitBytes: bigint) => ({
    capacityRange: { requiredBytes, limitBytes },
  });
  expect(await code(create(mountOf('btrfs')))).toBe('INVALID_ARGUMENT');
  expect(await code(create(mountOf(), { parameters: { typo: 'x' } }))).toBe('INVALID_ARGUMENT');
  expect(await code(create(BLOCK, { parameters: { provisioning: 'fat' } }))).toBe(
    'INVALID_ARGUMENT',
  );
  expect(await code(create(BLOCK, { volumeCapabilities: [BLOCK, mountOf()] }))).toBe(
    'INVALID_ARGUMENT',
  );
  expect(await code(create(mountOf('xfs'), sized(0n, 10n * MiB)))).toBe('OUT_OF_RANGE');
  expect(await code(create(BLOCK, sized(4097n, 5000n)))).toBe('OUT_OF_RANGE');
  const labels = { type: 'pd-ssd', 'csi.storage.k8s.io/pvc/name': 'claim' };
  expect(await code(create(mountOf(), { parameters: labels }))).toBe('OK');
  expect((await create(BLOCK, sized(0n, 5000n))).capacityBytes).toBe(4096n);
  expect((await create(BLOCK, { capacityRange: { requiredBytes: 5000n } })).capacityBytes).toBe(
    8192n,
  );
});

test('a copy is of its source’s kind, and may be larger', async () => {
  const small = await create(mountOf('ext4'), { capacityRange: { requiredBytes: 4n * MiB } });
  const volumeContentSource: csi.DeepPartial<csi.VolumeContentSource> = {
    type: { $case: 'volume', value: { volumeId: small.volumeId } },
  };
  await expect(create(BLOCK, { volumeContentSource })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  });
  const range = { capacityRange: { limitBytes: 2n * MiB } };
  const smaller = create(mountOf('ext4'), { volumeContentSource, ...range });
  await expect(smaller).rejects.toMatchObject({ code: 'OUT_OF_RANGE' });
  const same = await create(mountOf('ext4'), { volumeContentSource, capacityRange: undefined });
  expect(same.capacityBytes).toBe(4n * MiB);
  const larger = await create(mountOf('ext4'), {
    ...{ volumeContentSource, capacityRange: { requiredBytes: 16n * MiB } },
  });
  const path = await stage(larger.volumeId, mountOf('ext4'));
  const { usage } = await client.node.nodeGetVolumeStats({
    ...{ volumeId: larger.volumeId, volumePath: path, stagingTargetPath: '' },
  });
  expect(usage[0]?.total).toBeGreaterThan(8n * MiB);
});

test('mounts outlive the driver: the next one knows them', async () => {
  const capability = mountOf();
  const { volumeId } = await create(capability);
  const staging = await stage(volumeId, capability);
  const target = await publish(volumeId, capability, { stagingTargetPath: staging });
  await writeFile(join(target, 'file'), 'kept');
  await restart();
  expect(await readFile(join(target, 'file'), 'utf8')).toBe('kept');
  await publish(volumeId, capability, { stagingTargetPath: staging, targetPath: target });
  expect(listMounts().filter((each) => each.target === target).length).toBe(1);
  await expect(client.controller.deleteVolume({ volumeId, secrets: {} })).rejects.toMatchObject({
    code: 'FAILED_PRECONDITION',
  });
  // As after a reboot: the records are there, the mounts are not.
  unmount(target);
  unmount(staging);
  await restart();
  await stage(volumeId, capability, `${staging}-2`);
  await client.node.nodeUnpublishVolume({ volumeId, targetPath: target });
  expect(existsSync(target)).toBe(false);
});

test('a path where something else is mounted is left alone', async () => {
  const capability = mountOf();
  const { volumeId } = await create(capability);
  const foreign = join(directory, 'foreign');
  await mkdir(foreign);
  mount({ source: 'foreign', target: foreign, type: 'tmpfs' });
  const staging = stage(volumeId, capability, foreign);
  await expect(staging).rejects.toThrow(/something else is mounted there: tmpfs foreign/);
  const good = await stage(volumeId, capability);
  const publication = publish(volumeId, capability, {
    stagingTargetPath: good,
    targetPath: foreign,
  });
  await expect(publication).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
  await client.node.nodeUnpublishVolume({ volumeId, targetPath: foreign });
  await client.node.nodeUnstageVolume({ volumeId, stagingTargetPath: foreign });
  expect(mountAt(foreign)?.source).toBe('foreign');
  expect(mountAt(good)).toBeDefined();
  unmount(foreign);
});

test('target paths that are files, links, or hold files are never removed', async () => {
  const capability = mountOf();
  const { volumeId } = await create(capability);
  const staging = await stage(volumeId, capability);
  const link = join(directory, 'link');
  await symlink('/etc', link);
  const file = join(directory, 'file');
  await writeFile(file, 'precious');
  for (const targetPath of [link, file, join(directory, 'absent/target')]) {
    const call = publish(volumeId, capability, { stagingTargetPath: staging, targetPath });
    await expect(call).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    await client.node.nodeUnpublishVolume({ volumeId, targetPath });
  }
  expect(await readFile(file, 'utf8')).toBe('precious');
  expect(existsSync(link)).toBe(true);
  const block = await create(BLOCK);
  const device = await stage(block.volumeId, BLOCK);
  for (const targetPath of [link, file, driver.root]) {
    const call = publish(block.volumeId, BLOCK, { stagingTargetPath: device, targetPath });
    await expect(call).rejects.toThrow(/no empty file|Cannot make target path/);
  }
  expect(await readFile(file, 'utf8')).toBe('precious');
  // A directory that somebody has filled below the mount.
  const target = await publish(volumeId, capability, { stagingTargetPath: staging });
  unmount(target);
  await writeFile(join(target, 'precious'), '');
  await expect(
    client.node.nodeUnpublishVolume({ volumeId, targetPath: target }),
  ).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
  expect(await readdir(target)).toEqual(['precious']);
});

test('mount options are honoured or refused', async () => {
  const options = ['noexec', 'nosuid'];
  const { volumeId } = await create(mountOf());
  const staging = await stage(volumeId, mountOf('', options));
  const target = await publish(volumeId, mountOf('', options, 2), { stagingTargetPath: staging });
  expect(mountAt(target)?.options).toEqual(expect.arrayContaining([...options, 'ro']));
  const other = await create(mountOf());
  const failing = stage(other.volumeId, mountOf('', ['data=journal']));
  await expect(failing).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  expect(
    listMounts().filter(({ target }) => target.startsWith(`${directory}/staging`)).length,
  ).toBe(1);
  const ext4 = await create(mountOf('ext4'));
  const path = await stage(ext4.volumeId, mountOf('ext4', ['noatime', 'nodelalloc']));
  expect(mountAt(path)?.options).toContain('noatime');
  expect(mountAt(path)?.superOptions).toContain('nodelalloc');
  const bad = await create(mountOf('ext4'));
  await expect(stage(bad.volumeId, mountOf('ext4', ['no-such-option']))).rejects.toThrow(
    /Cannot mount/,
  );
  await expect
    .poll(() => loopsOf(join(driver.root, 'volumes', bad.volumeId, 'image')), { timeout: 10_000 })
    .toEqual([]);
});

test('an inline volume lives as long as its publication', async () => {
  const volumeId = `csi-${'0'.repeat(64)}`;
  const volumeContext = { [EPHEMERAL]: 'true', size: '8Mi' };
  for (const capability of [mountOf(), mountOf('ext4')]) {
    const target = await publish(volumeId, capability, { volumeContext });
    await publish(volumeId, capability, { volumeContext, targetPath: target });
    expect(listMounts().filter((each) => each.target === target).length).toBe(1);
    await writeFile(join(target, 'file'), '');
    const { usage } = await client.node.nodeGetVolumeStats({
      ...{ volumeId, volumePath: target, stagingTargetPath: '' },
    });
    expect(usage[0]?.total).toBeLessThanOrEqual(8n * MiB);
    const { entries } = await client.controller.listVolumes({ maxEntries: 0, startingToken: '' });
    expect(entries).toEqual([]);
    await restart();
    for (let i = 0; i < 2; i++)
      await client.node.nodeUnpublishVolume({ volumeId, targetPath: target });
    await nothingIsLeft();
  }
  const refused: [string, Record<string, string>, Capability][] = [
    ['../../etc', { size: '1Mi' }, mountOf()],
    ['..', {}, mountOf()],
    [volumeId, { size: 'much' }, mountOf()],
    [volumeId, { colour: 'red' }, mountOf()],
    [volumeId, {}, BLOCK],
  ];
  for (const [id, context, capability] of refused) {
    const call = publish(id, capability, { volumeContext: { [EPHEMERAL]: 'true', ...context } });
    await expect(call).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  }
  await nothingIsLeft();
});

test('ids that are paths lead nowhere', async () => {
  const precious = join(directory, 'precious');
  await mkdir(precious);
  await writeFile(join(precious, 'record.json'), '{}');
  for (const id of ['../../precious', '..', '.', '/', 'x/../../../precious']) {
    await client.controller.deleteVolume({ volumeId: id, secrets: {} });
    await client.controller.deleteSnapshot({ snapshotId: id, secrets: {} });
    await client.node.nodeUnpublishVolume({ volumeId: id, targetPath: precious });
    await expect(stage(id, mountOf())).rejects.toMatchObject({ code: 'NOT_FOUND' });
  }
  expect(await readdir(precious)).toEqual(['record.json']);
});

test('a volume that is damaged is abnormal, and says why', async () => {
  const condition = async (volumeId: string) =>
    (await client.controller.controllerGetVolume({ volumeId })).status?.volumeCondition;
  const block = await create(BLOCK);
  expect(await condition(block.volumeId)).toMatchObject({ abnormal: false });
  await rm(join(driver.root, 'volumes', block.volumeId, 'image'));
  expect(await condition(block.volumeId)).toMatchObject({
    ...{ abnormal: true, message: expect.stringContaining('is not there') },
  });
  const folder = await create(mountOf(), { capacityRange: { requiredBytes: MiB } });
  const path = await stage(folder.volumeId, mountOf());
  await writeFile(join(path, 'file'), Buffer.alloc(Number(2n * MiB)));
  const { usage, volumeCondition } = await client.node.nodeGetVolumeStats({
    ...{ volumeId: folder.volumeId, volumePath: path, stagingTargetPath: '' },
  });
  expect(usage[0]).toMatchObject({ total: MiB, used: MiB, available: 0n });
  expect(volumeCondition).toMatchObject({
    ...{ abnormal: true, message: expect.stringContaining(`more than its ${MiB}`) },
  });
});

test('a record that cannot be read is left alone, and keeps nobody from starting', async () => {
  const { volumeId } = await create(mountOf());
  const other = await create(mountOf());
  const record = join(driver.root, 'volumes', volumeId, 'record.json');
  await writeFile(record, '{"version": 7}');
  await restart();
  const { entries } = await client.controller.listVolumes({ maxEntries: 0, startingToken: '' });
  expect(entries.map(({ volume }) => volume?.volumeId)).toEqual([other.volumeId]);
  expect(existsSync(join(driver.root, 'volumes', volumeId, 'data'))).toBe(true);
});

test('a second driver on the same directory is refused; node ids are topology values', async () => {
  const open = (nodeId: string, root: string) =>
    HostPathDriver.open({ root, nodeId, version: '1', logger: SILENT });
  await expect(open('n2', driver.root)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  const elsewhere = join(directory, 'other');
  await expect(open('a/b', elsewhere)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await expect(open('n'.repeat(64), elsewhere)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});

test('deleting a volume does not follow mounts that somebody has put into it', async () => {
  const { volumeId } = await create(mountOf());
  const data = join(driver.root, 'volumes', volumeId, 'data');
  const precious = join(directory, 'precious');
  await mkdir(precious);
  await writeFile(join(precious, 'file'), 'kept');
  await mkdir(join(data, 'inside'));
  await chmod(data, 0o755);
  mount({ source: 'tmpfs', target: join(data, 'inside'), type: 'tmpfs' });
  bindMount(precious, join(data, 'inside'));
  const remove = () => client.controller.deleteVolume({ volumeId, secrets: {} });
  await expect(remove()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
  expect(await readFile(join(precious, 'file'), 'utf8')).toBe('kept');
  unmount(join(data, 'inside'));
  await expect(remove()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
  unmount(join(data, 'inside'));
  await remove();
  await nothingIsLeft();
});

test('a volume whose records are lost is not mounted twice, nor deleted while it is in use', async () => {
  for (const capability of [mountOf('ext4'), mountOf(), BLOCK]) {
    const { volumeId } = await create(capability);
    const staging = await stage(volumeId, capability);
    const target = await publish(volumeId, capability, { stagingTargetPath: staging });
    // As after a power loss that the mounts cannot outlive, but a test can make them.
    await rm(join(driver.root, 'nodes', `${volumeId}.json`));
    await restart();
    const remove = () => client.controller.deleteVolume({ volumeId, secrets: {} });
    await expect(remove()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    if (
      capability.accessType?.$case === 'mount' &&
      capability.accessType.value?.fsType === 'ext4'
    ) {
      const again = stage(volumeId, capability);
      await expect(again).rejects.toThrow(/it is mounted at/);
    }
    unmount(target);
    unmount(staging);
    await remove();
  }
  await nothingIsLeft();
});

test('an inline file system is not mounted at a second path', async () => {
  const capability = mountOf('ext4', [], 7);
  const volumeContext = { [EPHEMERAL]: 'true', size: '8Mi' };
  const target = await publish('csi-inline', capability, { volumeContext });
  const second = publish('csi-inline', capability, { volumeContext });
  await expect(second).rejects.toThrow(/it is mounted at/);
  await client.node.nodeUnpublishVolume({ volumeId: 'csi-inline', targetPath: target });
  await nothingIsLeft();
});
