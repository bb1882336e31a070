import { NEVER, SILENT, withTimeout } from '../../src/base/index.ts';
import { CsiHost } from '../../src/csi/host.ts';
import { bytesOf, parseManifest, type Ref } from '../../src/csi/objects/index.ts';
import type { Goal, HostChildOptions } from './goal.ts';

/**
 * A host side of CSI as a process of its own, which works towards a goal until it is
 * reached or the process is killed. Says `done` then, and what it is waiting for meanwhile.
 */
const { directory, endpoints, goal } = JSON.parse(process.argv[2] ?? '') as HostChildOptions;

const host = await CsiHost.open({
  logger: SILENT,
  objectsDirectory: `${directory}/objects`,
  rootDirectory: `${directory}/kubelet`,
  endpoints,
  secretsDirectory: `${directory}/secrets`,
  nodeName: 'node-1',
  callTimeout: 30_000,
  attachTimeout: 30_000,
  busyTimeout: 200,
  backOff: { first: 20, longest: 500 },
  extraMetadata: false,
});
const { store, volumes } = host;

/** Asks for what is missing; whatever fails is asked for again. */
async function work({ claims, snapshots, pods }: Goal): Promise<void> {
  for (const manifest of [...claims, ...snapshots]) await store.apply(parseManifest(manifest));
  const wanted = new Set(pods.map(({ uid }) => uid));
  for (const { spec } of store.list('VolumePublication')) {
    if (!wanted.has(spec.pod.uid)) await volumes.release(spec.pod.uid);
  }
  const names = (objects: readonly { metadata: { name: string } }[]) =>
    new Set(objects.map(({ metadata }) => metadata.name));
  const [keptClaims, keptSnapshots] = [names(claims), names(snapshots)];
  for (const kind of ['PersistentVolumeClaim', 'VolumeSnapshot'] as const) {
    const kept = kind === 'VolumeSnapshot' ? keptSnapshots : keptClaims;
    for (const { metadata } of store.list(kind)) {
      if (!kept.has(metadata.name)) await store.delete({ kind, name: metadata.name });
    }
  }
  await Promise.allSettled(pods.map(({ uid, claim }) => publish(uid, claim)));
}

function publish(uid: string, claim: string): Promise<unknown> {
  const ref: Ref<'PersistentVolumeClaim'> = { kind: 'PersistentVolumeClaim', name: claim };
  const pod = { uid, name: uid, namespace: 'default', serviceAccount: 'default' };
  return volumes.publishClaim(ref, { pod, readOnly: false }, withTimeout(NEVER, 20_000));
}

/** What is not yet as it shall be. */
function missing({ claims, snapshots, pods, grown }: Goal): string[] {
  const published = store.list('VolumePublication');
  const one = (kind: 'PersistentVolumeClaim' | 'VolumeSnapshot', name: string) =>
    store.find({ kind, name });
  const counts = [
    ['PersistentVolumeClaim', claims.length],
    ['PersistentVolume', claims.length],
    ['VolumeSnapshot', snapshots.length],
    ['VolumeSnapshotContent', snapshots.length],
    ['VolumePublication', pods.length],
    ['VolumeStage', new Set(pods.map(({ claim }) => claim)).size],
    ['VolumeAttachment', 0],
  ] as const;
  return [
    ...counts.flatMap(([kind, count]) => {
      const there = store.list(kind).length;
      return there === count ? [] : [`${there} of ${count} ${kind}`];
    }),
    ...claims.flatMap(({ metadata, spec }) => {
      const status = one('PersistentVolumeClaim', metadata.name)?.status as
        | { phase?: string; capacity?: { storage: string } }
        | undefined;
      const has = bytesOf(status?.capacity?.storage ?? '0');
      const enough = !grown || has >= bytesOf(spec.resources.requests.storage);
      return status?.phase === 'Bound' && enough ? [] : [`claim ${metadata.name}`];
    }),
    ...snapshots.flatMap(({ metadata }) => {
      const status = one('VolumeSnapshot', metadata.name)?.status as { readyToUse?: boolean };
      return status?.readyToUse === true ? [] : [`snapshot ${metadata.name}`];
    }),
    ...pods.flatMap(({ uid }) => {
      const ready = published.some(
        ({ spec, status }) => spec.pod.uid === uid && status.phase === 'Published',
      );
      return ready ? [] : [`pod ${uid}`];
    }),
  ];
}

process.stdout.write('ready\n');
for (;;) {
  await work(goal).catch(() => {});
  const left = missing(goal);
  if (left.length === 0) break;
  process.stdout.write(`${left.slice(0, 4).join(', ')}\n`);
  await new Promise((resolve) => setTimeout(resolve, 50));
}
process.stdout.write('done\n');
await host[Symbol.asyncDispose]();
process.exit(0);
