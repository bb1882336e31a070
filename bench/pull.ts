/**
 * Times cold pulls of the same images from the same local registry by Keelson, by the
 * containerd of this host, and by skopeo into the storage of Podman and CRI-O and into a
 * plain directory, in rounds that take turns: time, CPU, memory, and ratios to containerd.
 *
 *     sh scripts/with-setup.sh --bench bench/pull.ts [--rounds 5] [--images layers,files]
 *         [--megabytes 200] [--only keelson,containerd,storage,directory] [--json]
 *         [--host-disk]
 *
 * skopeo is a program that starts anew for each pull; to a directory it neither
 * decompresses nor unpacks. Memory is that of the main process: what containerd's unpigz
 * and skopeo's own helpers have is not in it, though their CPU time is. All lies on an ext4
 * made for it, see own-disk.ts; with --host-disk where this host keeps temporary files.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, loadavg, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startRegistry } from '../test/fixtures/registry.ts';
import { output, prepareDaemon } from '../test/harness/index.ts';
import { startContainerd } from './containerd.ts';
import { ownDisk } from './own-disk.ts';
import { type PullImage, pushLayers, pushSmallFiles } from './pull-images.ts';
import { criPeer, isEmpty, type Peer, skopeoPeer, type Taken } from './pull-peers.ts';
import { median } from './statistics.ts';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    images: { type: 'string', default: 'layers,files' },
    megabytes: { type: 'string', default: '200' },
    only: { type: 'string', default: 'containerd,keelson,storage,directory' },
    json: { type: 'boolean', default: false },
    'host-disk': { type: 'boolean', default: false },
  },
});

/** Peers by name, pulls of each. */
type Results = Map<string, Taken[]>;

async function main(): Promise<void> {
  const load = loadavg()[0] ?? 0;
  if (load > 0.5) console.error(`The machine is not idle (load ${load.toFixed(1)}).`);
  await using stack = new AsyncDisposableStack();
  if (!options['host-disk']) stack.use(await ownDisk(8));
  const registry = stack.use(await startRegistry());
  const peers = await openPeers(stack);
  for (const kind of options.images.split(',')) {
    const image =
      kind === 'files'
        ? await pushSmallFiles(registry)
        : await pushLayers(registry, Number(options.megabytes) * 1e6);
    report(kind, image, await takeTurns(peers, image.reference));
  }
}

async function openPeers(stack: AsyncDisposableStack): Promise<Peer[]> {
  const names = options.only.split(',');
  const directory = await mkdtemp(join(tmpdir(), 'keelson-bench-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  // By its launcher, as users start it: that sets the memory of Node.
  const command = [new URL('../keelson', import.meta.url).pathname];
  const daemon = stack.use(await prepareDaemon({ network: 'none', command }));
  const { root, cniConfDir, registryConfigDir } = daemon.paths;
  const peers: Peer[] = [];
  if (names.includes('containerd')) {
    const containerd = stack.use(
      await startContainerd({ sandboxImage: 'none', cniConfDir, registryConfigDir }),
    );
    const content = 'io.containerd.content.v1.content/blobs/sha256';
    peers.push(criPeer('containerd', containerd, () => isEmpty(join(containerd.root, content))));
  }
  if (names.includes('keelson')) {
    await daemon.start();
    peers.push(criPeer('keelson', daemon, () => isEmpty(join(root, 'l'))));
  }
  if (names.includes('storage')) {
    const at = (below: string) =>
      `containers-storage:[overlay@${below}/root+${below}/run]localhost/bench:1`;
    peers.push(skopeoPeer('storage', join(directory, 'storage'), at));
  }
  if (names.includes('directory')) {
    peers.push(skopeoPeer('directory', join(directory, 'plain'), (below) => `dir:${below}`));
  }
  return peers;
}

/** Rounds take turns, so that what else the machine does meets all alike. The first warms up. */
async function takeTurns(peers: readonly Peer[], reference: string): Promise<Results> {
  const results: Results = new Map(peers.map(({ name }) => [name, []]));
  for (let round = 0; round <= Number(options.rounds); round++) {
    for (const peer of peers) {
      await output('sync');
      try {
        const taken = await peer.pull(reference);
        if (round > 0) results.get(peer.name)?.push(taken);
      } finally {
        await peer.forget(reference);
      }
    }
  }
  return results;
}

const COLUMNS: Record<keyof Taken, { title: string; show(value: number): string }> = {
  seconds: { title: 'seconds', show: (value) => value.toFixed(2) },
  durable: { title: 'to disk, s', show: (value) => value.toFixed(2) },
  cpu: { title: 'CPU s', show: (value) => value.toFixed(2) },
  peak: { title: 'peak MB', show: (value) => (value / 1e6).toFixed(0) },
};

function report(kind: string, { packed, unpacked }: PullImage, results: Results): void {
  const columns = Object.keys(COLUMNS) as (keyof Taken)[];
  const rows = [...results].map(([name, taken]) => ({
    name,
    medians: columns.map((column) => median(taken.map((each) => each[column]))),
  }));
  if (options.json) {
    const host = { cpu: cpus()[0]?.model, cores: cpus().length, kernel: release() };
    console.log(JSON.stringify({ host, kind, packed, unpacked, results: [...results] }));
    return;
  }
  const size = `${(packed / 1e6).toFixed(0)} MB packed, ${(unpacked / 1e6).toFixed(0)} unpacked`;
  console.log(`\nImage "${kind}" (${size}), medians of ${options.rounds}, ratios to the first:\n`);
  console.log(line(['', ...columns.flatMap((column) => [COLUMNS[column].title, 'ratio'])]));
  for (const { name, medians } of rows) {
    const cells = medians.flatMap((value, index) => {
      const column = columns[index] ?? 'seconds';
      const first = rows[0]?.medians[index] ?? Number.NaN;
      return [COLUMNS[column].show(value), (value / first).toFixed(2)];
    });
    console.log(line([name, ...cells]));
  }
}

function line(cells: readonly string[]): string {
  return cells.map((cell, index) => (index === 0 ? cell.padEnd(12) : cell.padStart(11))).join('');
}

await main();
