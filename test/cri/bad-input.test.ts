import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { beforeAll, expect, test } from 'vitest';
import { ContainerConfig, PodSandboxConfig } from '../../src/gen/runtime/v1/api.ts';
import {
  buildImage,
  buildIndex,
  buildLayer,
  pushBlob,
  pushImage,
  pushManifest,
} from '../fixtures/image.ts';
import { containerConfig, createContainer, type Pod, podConfig, runPod } from '../harness/index.ts';
import { codeOf, criSuite } from './suite.ts';

const suite = criSuite();
let pod: Pod;

beforeAll(async () => {
  pod = await runPod(suite.daemon);
});

/** Ids that are none, and may not be taken for paths or patterns. */
const NO_IDS = ['../../etc', '..', '/', '*', 'x'.repeat(10_000), '\0', ' ', 'ZZZZ', '0'.repeat(64)];

test('ids that are none are unknown, whatever they hold', async () => {
  const { runtime } = suite.daemon;
  for (const id of NO_IDS) {
    const name = id.slice(0, 70);
    expect(await codeOf(runtime.podSandboxStatus({ podSandboxId: id })), name).toBe('NOT_FOUND');
    expect(await codeOf(runtime.containerStatus({ containerId: id })), name).toBe('NOT_FOUND');
    expect(await codeOf(runtime.startContainer({ containerId: id })), name).toBe('NOT_FOUND');
    expect(await codeOf(runtime.stopContainer({ containerId: id })), name).toBe('OK');
    expect(await codeOf(runtime.removeContainer({ containerId: id })), name).toBe('OK');
    expect(await codeOf(runtime.stopPodSandbox({ podSandboxId: id })), name).toBe('OK');
    expect(await codeOf(runtime.removePodSandbox({ podSandboxId: id })), name).toBe('OK');
  }
  const { items } = await runtime.listPodSandbox({ filter: { id: pod.id } });
  expect(items).toHaveLength(1);
});

test('names that lead out of directories make no files there', async () => {
  const { daemon, image } = suite;
  const metadata = { name: '../../../x', namespace: '/etc', uid: '..\n', attempt: 0 };
  const config = podConfig({ metadata });
  const { podSandboxId } = await daemon.runtime.runPodSandbox({ config });
  const known = await daemon.runtime.podSandboxStatus({ podSandboxId });
  expect(known.status!.metadata).toEqual(metadata);
  const container = containerConfig(image, {
    metadata: { name: '../../y', attempt: 0 },
    logPath: 'y.log',
  });
  const call = createContainer(daemon, { id: podSandboxId, config }, container);
  expect(await codeOf(call)).toBe('OK');
  const top = await readdir(daemon.directory);
  expect(top.filter((name) => name === 'x' || name === 'y')).toEqual([]);
});

test('configs of the wrong platform or with what is not supported are refused', async () => {
  const { daemon, image } = suite;
  const sandbox = (changes: object) =>
    codeOf(
      daemon.runtime.runPodSandbox({
        config: PodSandboxConfig.fromPartial({ ...podConfig(), ...changes }),
      }),
    );
  expect(await sandbox({ windows: {} })).toBe('INVALID_ARGUMENT');
  expect(await sandbox({ logDirectory: 'relative' })).toBe('INVALID_ARGUMENT');
  expect(await sandbox({ logDirectory: '/a\0b' })).toBe('INVALID_ARGUMENT');
  const container = (changes: object) =>
    codeOf(
      createContainer(
        daemon,
        pod,
        ContainerConfig.fromPartial({ ...containerConfig(image), ...changes }),
      ),
    );
  expect(await container({ windows: {} })).toBe('INVALID_ARGUMENT');
  expect(await container({ CDIDevices: [{ name: 'vendor.com/class=name' }] })).toBe(
    'INVALID_ARGUMENT',
  );
  expect(await container({ stopSignal: 999 })).toBe('INVALID_ARGUMENT');
});

test('a large config is kept as it is', async () => {
  const { daemon, image } = suite;
  const annotations = Object.fromEntries(
    Array.from({ length: 200 }, (_, index) => [`key-${index}`, 'v'.repeat(5000)]),
  );
  const id = await createContainer(daemon, pod, containerConfig(image, { annotations }));
  const known = await daemon.runtime.containerStatus({ containerId: id });
  expect(known.status!.annotations).toEqual(annotations);
});

test('errors name the action and quote what was given', async () => {
  const { runtime } = suite.daemon;
  const id = randomBytes(32).toString('hex');
  await expect(runtime.containerStatus({ containerId: id })).rejects.toMatchObject({
    details: expect.stringContaining(`"${id}"`),
  });
  const config = containerConfig('example.invalid/none:9');
  const create = createContainer(suite.daemon, pod, config);
  await expect(create).rejects.toMatchObject({
    details: expect.stringContaining('"example.invalid/none:9"'),
  });
});

const target = (repository: string) => ({ url: suite.registry.url, repository });

test('an image whose layer is not what its digest says is refused, and leaves nothing', async () => {
  const { daemon, registry } = suite;
  const layer = buildLayer([{ path: 'file', content: randomBytes(4096) }]);
  const lie = { ...layer, diffId: `sha256:${createHash('sha256').update('x').digest('hex')}` };
  const image = buildImage({ layers: [lie] });
  await pushBlob(target('lie'), layer.blob, layer.descriptor.digest);
  await pushBlob(target('lie'), image.config, image.configDescriptor.digest);
  const { mediaType } = image.descriptor;
  await pushManifest(target('lie'), '1', { content: image.manifest, mediaType });
  const reference = `${registry.host}/lie:1`;
  const pull = daemon.images.pullImage({ image: { image: reference } });
  expect(await codeOf(pull)).toBe('DATA_LOSS');
  const { image: known } = await daemon.images.imageStatus({ image: { image: reference } });
  expect(known).toBeUndefined();
});

test('an index without an image for this platform is refused', async () => {
  const { daemon, registry } = suite;
  const layer = buildLayer([{ path: 'file', content: 'x' }]);
  const platform = { os: 'linux', architecture: 's390x' };
  const image = buildImage({ layers: [layer], platform });
  await pushImage(target('elsewhere'), 'own', image);
  const { content, descriptor } = buildIndex([{ ...image.descriptor, platform }]);
  await pushManifest(target('elsewhere'), '1', { content, mediaType: descriptor.mediaType });
  const pull = daemon.images.pullImage({ image: { image: `${registry.host}/elsewhere:1` } });
  await expect(pull).rejects.toMatchObject({
    code: status.NOT_FOUND,
    details: expect.stringContaining('s390x'),
  });
});

test('a network plugin that is missing or fails leaves nothing, and the next pod works', async () => {
  const { daemon } = suite;
  const path = join(daemon.paths.cniConfDir, '10-test.conflist');
  const { conflist, name } = daemon.network!;
  const records = join(daemon.paths.state, 'sandboxes');
  const before = await readdir(records);
  const leases = async () =>
    (await readdir(join(daemon.paths.leases, name))).filter((file) => /^\d+\./.test(file)).sort();
  const held = await leases();
  const broken = JSON.parse(conflist);
  for (const last of [{ type: 'no-such-plugin' }, { type: 'bridge', bridge: 'x'.repeat(40) }]) {
    const plugins = [...broken.plugins, last];
    await writeFile(path, JSON.stringify({ ...broken, plugins }));
    await expect
      .poll(() => codeOf(daemon.runtime.runPodSandbox({ config: podConfig() })), {
        timeout: 10_000,
      })
      .not.toBe('OK');
    await writeFile(path, conflist);
    await expect
      .poll(() => codeOf(daemon.runtime.runPodSandbox({ config: podConfig() })), {
        timeout: 10_000,
      })
      .toBe('OK');
  }
  const known = new Set((await daemon.runtime.listPodSandbox()).items.map(({ id }) => id));
  expect((await readdir(records)).filter((id) => !known.has(id))).toEqual([]);
  const added = known.size - before.length;
  expect((await leases()).length - held.length).toBe(added);
});

test('a runtime that fails is told by name, and leaves nothing', async () => {
  const { daemon, image } = suite;
  const bad = join(daemon.directory, 'bad-runtime');
  await mkdir(bad, { recursive: true });
  const profile = join(bad, 'profile.json');
  await writeFile(profile, JSON.stringify({ defaultAction: 'SCMP_ACT_NONSENSE' }));
  await chmod(profile, 0o644);
  const config = containerConfig(image, {
    linux: { securityContext: { seccomp: { profileType: 2, localhostRef: profile } } },
  });
  const call = createContainer(daemon, pod, config);
  await expect(call).rejects.toMatchObject({
    details: expect.stringContaining('SCMP_ACT_NONSENSE'),
  });
  const { containers } = await daemon.runtime.listContainers({
    filter: { podSandboxId: pod.id, labelSelector: config.labels },
  });
  expect(containers.filter(({ metadata }) => metadata!.name === config.metadata!.name)).toEqual([]);
  config.linux!.securityContext!.seccomp = undefined;
  expect(await codeOf(createContainer(daemon, pod, config))).toBe('OK');
});

test('a call that is given up is undone, or finished; the name can be used again', async () => {
  const { daemon } = suite;
  const config = podConfig();
  const abort = new AbortController();
  const call = daemon.runtime.runPodSandbox({ config }, { signal: abort.signal });
  const outcome = codeOf(call);
  setTimeout(() => abort.abort(), 5);
  expect(['OK', 'CANCELLED']).toContain(await outcome);
  await expect
    .poll(() => codeOf(daemon.runtime.runPodSandbox({ config })), { timeout: 10_000 })
    .toMatch(/^(OK|ALREADY_EXISTS)$/);
  const { items } = await daemon.runtime.listPodSandbox({
    filter: { labelSelector: config.labels },
  });
  expect(items).toHaveLength(1);
});
