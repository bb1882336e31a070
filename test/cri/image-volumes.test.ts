import { readFile } from 'node:fs/promises';
import { status } from '@grpc/grpc-js';
import { beforeAll, expect, test } from 'vitest';
import type { ContainerConfig, DeepPartial, Mount } from '../../src/gen/runtime/v1/api.ts';
import { NamespaceMode } from '../../src/gen/runtime/v1/api.ts';
import { buildArtifact } from '../fixtures/artifact.ts';
import { buildImage, buildLayer } from '../fixtures/image.ts';
import {
  containerConfig,
  createContainer,
  type Pod,
  runContainer,
  runPod,
} from '../harness/index.ts';
import { criSuite, execIn, runToEnd, shell, statusOf } from './suite.ts';

const suite = criSuite({ config: '[runtimes.second]\ntype = "runc"\n' });
let pod: Pod;
let files: string;

beforeAll(async () => {
  pod = await runPod(suite.daemon);
  const layers = [
    buildLayer([
      { path: 'data/', type: 'directory', mode: 0o755 },
      { path: 'data/below/', type: 'directory', mode: 0o755 },
      { path: 'data/below/file', content: 'from the image\n', uid: 7 },
      { path: 'replaced', content: 'old\n' },
      { path: 'run', content: '#!/bin/sh\necho ran\n', mode: 0o755 },
      { path: 'link', type: 'symlink', target: '/data' },
      { path: 'out', type: 'symlink', target: '../../../../../../../etc' },
    ]),
    buildLayer([{ path: 'replaced', content: 'new\n' }]),
  ];
  files = await suite.add('files', buildImage({ layers }));
});

const volume = (changes: DeepPartial<Mount> = {}): DeepPartial<Mount> => ({
  containerPath: '/volume',
  image: { image: files },
  readonly: true,
  ...changes,
});

async function say(
  script: string,
  mount: DeepPartial<Mount>,
  changes: DeepPartial<ContainerConfig> = {},
  on = pod,
): Promise<string[]> {
  const all = { ...shell(`{ ${script}; } 2>&1`), mounts: [mount], ...changes };
  return (await runToEnd(suite.daemon, on, suite.image, all)).lines;
}

async function refusal(mount: DeepPartial<Mount>): Promise<string> {
  const config = containerConfig(suite.image, { mounts: [mount] });
  return createContainer(suite.daemon, pod, config).then(
    () => '',
    (error: { details?: string }) => error.details ?? String(error),
  );
}

for (const handler of ['crun', 'second']) {
  test(`${handler}: the files of an image are a volume, read-only, and may be run`, async () => {
    const on = await runPod(suite.daemon, {}, handler);
    const script =
      'cat /volume/replaced /volume/data/below/file; /volume/run; touch /volume/x || echo ro';
    const lines = await say(script, volume(), {}, on);
    expect(lines.slice(0, 3)).toEqual(['new', 'from the image', 'ran']);
    expect(lines.at(-1)).toBe('ro');
  });

  test(`${handler}: a volume's owners are the pod's where it has ids of its own`, async () => {
    const ids = [{ hostId: 200_000, containerId: 0, length: 65_536 }];
    const namespaceOptions = {
      pid: NamespaceMode.CONTAINER,
      usernsOptions: { mode: NamespaceMode.POD, uids: ids, gids: ids },
    };
    const linux = { securityContext: { namespaceOptions } };
    const on = await runPod(suite.daemon, { linux }, handler);
    const script = 'stat -c %u /volume/run /volume/data/below/file';
    expect(await say(script, volume(), { linux }, on)).toEqual(['0', '7']);
  });
}

test('a directory of an image is a volume; links are followed inside of the image', async () => {
  const list = (imageSubPath: string) => say('ls /volume', volume({ imageSubPath }));
  expect(await list('data/below')).toEqual(['file']);
  expect(await list('/data')).toEqual(['below']);
  expect(await list('link/below')).toEqual(['file']);
  expect(await list('../..')).toEqual(['data', 'link', 'out', 'replaced', 'run']);
});

test('what is not there, no directory, or outside of the image is refused', async () => {
  const known = /^ImageVolumeMountFailed: /;
  expect(await refusal(volume({ imageSubPath: 'absent' }))).toMatch(known);
  expect(await refusal(volume({ imageSubPath: 'absent' }))).toContain('it has no "absent"');
  expect(await refusal(volume({ imageSubPath: 'run' }))).toContain('"run" is not a directory');
  expect(await refusal(volume({ imageSubPath: 'out' }))).toContain('it has no "out"');
  expect(await refusal(volume({ image: { image: 'absent.example/x:1' } }))).toMatch(known);
  expect(await refusal(volume({ readonly: false }))).toContain('readonly is not set');
  expect(await refusal(volume({ hostPath: '/etc' }))).toContain('host_path "/etc" is given too');
  expect(await refusal(volume({ propagation: 1 }))).toContain('PRIVATE');
  const handler = { image: { image: files, runtimeHandler: 'absent' } };
  expect(await refusal(volume(handler))).toContain('no runtime handler "absent"');
});

test('the status tells which image it is, by its id, whatever was asked for', async () => {
  const id = await runContainer(
    suite.daemon,
    pod,
    containerConfig(suite.image, {
      mounts: [volume({ image: { image: files, imageRef: 'other' }, imageSubPath: 'data' })],
    }),
  );
  const { imageRef } = await suite.daemon.images.pullImage({ image: { image: files } });
  const [mount] = (await statusOf(suite.daemon, id)).mounts;
  expect(mount).toMatchObject({ containerPath: '/volume', hostPath: '', imageSubPath: 'data' });
  expect(mount!.image).toMatchObject({ image: imageRef, imageRef });
});

test('an artifact is a volume of its files, and no image to run', async () => {
  const artifact = buildArtifact({ 'model/weights.bin': 'weights\n', 'model.json': '{"a":1}\n' });
  const reference = await suite.add('model', artifact);
  const mount = volume({ image: { image: reference } });
  const script = 'cd /volume && find . -type f | sort && cat model/weights.bin model.json';
  const files = ['./model.json', './model/weights.bin', 'weights', '{"a":1}'];
  expect(await say(script, mount)).toEqual(files);
  expect((await say('touch /volume/x || echo ro', mount)).at(-1)).toBe('ro');
  const below = { ...mount, imageSubPath: 'model' };
  const mounts = [below];
  const id = await runContainer(suite.daemon, pod, containerConfig(suite.image, { mounts }));
  expect(await execIn(suite.daemon, id, 'ls /volume')).toBe('weights.bin');
  const [told] = (await statusOf(suite.daemon, id)).mounts;
  const { digest } = artifact.descriptor;
  expect(told!.image).toMatchObject({ image: digest, imageRef: digest });
  expect(await refusal({ ...mount, imageSubPath: 'model.json' })).toContain('is not a directory');
  const run = createContainer(suite.daemon, pod, containerConfig(reference));
  await expect(run).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: expect.stringContaining('it is an artifact'),
  });
});

test('an image that is removed stays in the containers that use it, and goes with the last', async () => {
  const { daemon } = suite;
  const layers = [buildLayer([{ path: 'kept', content: 'kept\n' }])];
  const reference = await suite.add('kept', buildImage({ layers }));
  const mounts = [volume({ image: { image: reference } })];
  const id = await runContainer(daemon, pod, containerConfig(suite.image, { mounts }));
  await daemon.images.removeImage({ image: { image: reference } });
  expect(await execIn(daemon, id, 'cat /volume/kept')).toBe('kept');
  await daemon.kill9();
  await daemon.restart();
  expect(await execIn(daemon, id, 'cat /volume/kept')).toBe('kept');
  const mountinfo = await readFile('/proc/self/mountinfo', 'utf8');
  const targets = mountinfo.split('\n').map((line) => line.split(' ')[4] ?? '');
  expect(targets.filter((target) => target.includes(`${id}/sources/`))).toEqual([]);
});
