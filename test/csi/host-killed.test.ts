import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SILENT } from '../../src/base/index.ts';
import { HostPathDriver } from '../../src/csi/hostpath/index.ts';
import { DriverServer } from '../../src/csi/kit/index.ts';
import { parseManifest } from '../../src/csi/objects/index.ts';
import { ObjectStore } from '../../src/csi/store/index.ts';
import { listMounts } from '../../src/linux/index.ts';
import type { Goal } from './goal.ts';
import { claim, size, storageClass } from './host-fixture.ts';

/** The full form, as in `CSI_VOLUMES=100 CSI_KILLS=20 npx vitest run test/csi/host-killed.test.ts`. */
const VOLUMES = Number(process.env['CSI_VOLUMES'] ?? 4);
const KILLS = Number(process.env['CSI_KILLS'] ?? 3);

const CHILD = new URL('host-child.ts', import.meta.url).pathname;

async function startDriver(directory: string, name: string) {
  const root = join(directory, name);
  const endpoint = `unix://${join(directory, `${name}.sock`)}`;
  const options = { root, name, nodeId: 'node-1', version: '1', logger: SILENT };
  const hostpath = await HostPathDriver.open(options);
  const server = await DriverServer.open(hostpath.driver, { endpoint, logger: SILENT });
  return {
    ...{ root, endpoint },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await hostpath[Symbol.asyncDispose]();
    },
  };
}

const [FIRST, SECOND] = ['first.keelson.test', 'second.keelson.test'];

async function prepareObjects(directory: string): Promise<void> {
  const store = await ObjectStore.open({ directory: join(directory, 'objects'), logger: SILENT });
  const more = { allowVolumeExpansion: true };
  const ext4 = { ...more, parameters: { 'csi.storage.k8s.io/fstype': 'ext4' } };
  const snapshots = (driver: string) => ({
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshotClass',
    metadata: {
      name: driver,
      annotations: { 'snapshot.storage.kubernetes.io/is-default-class': 'true' },
    },
    driver,
    deletionPolicy: 'Delete',
  });
  for (const object of [
    storageClass('directories', FIRST, more),
    storageClass('images', SECOND, ext4),
    snapshots(FIRST),
    snapshots(SECOND),
  ]) {
    await store.apply(parseManifest(object));
  }
}

/** Created, published; grown, snapshotted; moved to other pods; removed. */
function goals(): Goal[] {
  const numbers = [...Array(VOLUMES).keys()];
  const claims = (storage: string) =>
    numbers.map((n) => claim(`data-${n}`, n % 2 === 0 ? 'directories' : 'images', size(storage)));
  const pods = (name: string) => numbers.map((n) => ({ uid: `${name}-${n}`, claim: `data-${n}` }));
  const snapshots = numbers
    .filter((n) => n % 3 === 0)
    .map((n) => ({
      apiVersion: 'snapshot.storage.k8s.io/v1',
      kind: 'VolumeSnapshot',
      metadata: { name: `snap-${n}` },
      spec: { source: { persistentVolumeClaimName: `data-${n}` } },
    }));
  const typed = (storage: string) => claims(storage) as Goal['claims'];
  return [
    { claims: typed('4Mi'), snapshots: [], pods: pods('first'), grown: true },
    { claims: typed('6Mi'), snapshots, pods: pods('first'), grown: false },
    // Where a file system cannot grow while it is mounted, it does when it is staged anew.
    { claims: typed('6Mi'), snapshots, pods: [], grown: false },
    { claims: typed('6Mi'), snapshots, pods: pods('second'), grown: true },
    { claims: [], snapshots: [], pods: [], grown: true },
  ];
}

interface Attempt {
  done: boolean;
  said: string;
}

/** Works towards a goal until it is reached, or for so many milliseconds at most. */
async function attempt(options: object, kill: number | undefined): Promise<Attempt> {
  const child: ChildProcess = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', CHILD, JSON.stringify(options)],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let said = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    const begins = said === '';
    said = (said + chunk.toString()).slice(-2000);
    if (begins && kill !== undefined) setTimeout(() => child.kill('SIGKILL'), kill);
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 300_000);
  const [code] = await once(child, 'exit');
  clearTimeout(timer);
  return { done: code === 0, said };
}

test(
  `${VOLUMES} volumes of two drivers, the host killed ${KILLS} times: nothing is left`,
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 'keelson-killed-'));
    const drivers = [await startDriver(directory, FIRST), await startDriver(directory, SECOND)];
    try {
      await prepareObjects(directory);
      const endpoints = drivers.map(({ endpoint }) => endpoint);
      const all = goals();
      let kills = 0;
      for (const [index, goal] of all.entries()) {
        const share = Math.ceil((KILLS * (index + 1)) / all.length);
        while (kills < share) {
          // From right at the start to in the middle of everything.
          const after = Math.random() * (100 + 30 * VOLUMES);
          await attempt({ directory, endpoints, goal }, after);
          kills++;
        }
        const { done, said } = await attempt({ directory, endpoints, goal }, undefined);
        expect(done, `goal ${index}: ${said}`).toBe(true);
        if (goal.pods.length > 0) {
          const mounts = listMounts().filter(({ target }) =>
            target.startsWith(`${directory}/kubelet/pods`),
          );
          expect(mounts).toHaveLength(VOLUMES);
        }
      }
      expect(await left(directory, drivers)).toEqual([]);
    } finally {
      for (const driver of drivers) await driver[Symbol.asyncDispose]();
      if (listMounts().every(({ target }) => !target.startsWith(`${directory}/`))) {
        await rm(directory, { recursive: true, force: true });
      }
    }
  },
  120_000 + 12_000 * VOLUMES + 20_000 * KILLS,
);

/** Mounts, loop devices, directories, records and volumes. */
async function left(directory: string, drivers: readonly { root: string }[]): Promise<string[]> {
  const mounts = listMounts()
    .map(({ target }) => target)
    .filter((target) => target.startsWith(`${directory}/`));
  const backing = await Promise.all(
    (await readdir('/sys/block'))
      .filter((name) => name.startsWith('loop'))
      .map(async (name) => {
        const { readFile } = await import('node:fs/promises');
        return readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
      }),
  );
  const below = async (path: string) =>
    (await readdir(path, { recursive: true }).catch(() => [])).map((name) => join(path, name));
  const kubelet = join(directory, 'kubelet');
  const kept = new Set(
    ['plugins/kubernetes.io', 'plugins/kubernetes.io/csi'].map((path) => join(kubelet, path)),
  );
  const paths = [
    ...(await below(join(kubelet, 'pods'))),
    ...(await below(join(kubelet, 'plugins'))),
    ...(await Promise.all(drivers.map(({ root }) => below(join(root, 'volumes'))))).flat(),
    ...(await Promise.all(drivers.map(({ root }) => below(join(root, 'snapshots'))))).flat(),
  ];
  const store = await ObjectStore.open({ directory: join(directory, 'objects'), logger: SILENT });
  const kinds = [
    'PersistentVolumeClaim',
    'PersistentVolume',
    'VolumeAttachment',
    'VolumeStage',
  ] as const;
  const more = ['VolumePublication', 'VolumeSnapshot', 'VolumeSnapshotContent'] as const;
  const records = [...kinds, ...more].flatMap((kind) =>
    store.list(kind).map(({ metadata }) => `${kind} ${metadata.name}`),
  );
  return [
    ...mounts,
    ...backing.filter((path) => path.startsWith(directory)),
    ...paths.filter((path) => !kept.has(path)),
    ...records,
    ...store.unreadable.map(({ path }) => path),
  ];
}
