import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ContainerState, NamespaceMode } from '../../src/gen/runtime/v1/api.ts';
import { findProgram } from '../../src/linux/index.ts';
import { checkpointProblem, OciRuntime } from '../../src/oci/runtime/index.ts';
import { buildImage, buildLayer } from '../fixtures/image.ts';
import { type TarFixtureEntry, tar } from '../fixtures/tar.ts';
import {
  containerConfig,
  createContainer,
  output,
  type Pod,
  runContainer,
  runPod,
  startDaemon,
  waitFor,
} from '../harness/index.ts';
import { codeOf, criSuite, execIn, shell, statusOf } from './suite.ts';

// A runc whose checkpoints do not begin before a file is there.
const slow = await mkdtemp(join(tmpdir(), 'keelson-slow-runc-'));
const slowRunc = join(slow, 'runc');
const begin = join(slow, 'begin');
await writeFile(
  slowRunc,
  `#!/bin/sh
case " $* " in
*" checkpoint "*) until [ -e '${begin}' ]; do sleep 0.1; done ;;
esac
exec runc "$@"
`,
  { mode: 0o755 },
);
afterAll(() => rm(slow, { recursive: true }));

const suite = criSuite({
  config: `[containers]
restore_checkpoints = true
[runtimes.runc]
type = "runc"
[runtimes.slow]
type = "runc"
path = "${slowRunc}"
`,
});
const runc = { handler: 'runc', type: 'runc', path: findProgram('runc') ?? 'runc' } as const;
// Debian 12's criu works on kernels up to 6.6 or so: `npm run test:vm` has one.
const problem = await checkpointProblem(
  new OciRuntime({ ...runc, root: '/nonexistent', systemdCgroup: false }),
);

const COUNTING = shell(
  'rm -r /var/www; echo new > /etc/new; i=0; while :; do i=$((i+1)); echo $i > /next; mv /next /count; sleep 0.1; done',
);

let directory: string;
let pod: Pod;
let serial = 0;

beforeAll(async () => {
  pod = await runPod(suite.daemon, {}, 'runc');
});

beforeEach(async () => {
  directory = join(suite.daemon.directory, `checkpoints-${serial++}`);
  await mkdir(directory);
});

test('what cannot be checkpointed is refused, and Status says why', async () => {
  const { daemon, image } = suite;
  const location = join(directory, 'a.tar');
  const checkpoint = (containerId: string, to = location) =>
    codeOf(daemon.runtime.checkpointContainer({ containerId, location: to }));
  expect(await checkpoint('0123456789abcdef')).toBe('NOT_FOUND');
  const created = await createContainer(daemon, pod, containerConfig(image));
  expect(await checkpoint(created)).toBe('FAILED_PRECONDITION');
  expect(await checkpoint(created, 'relative.tar')).toBe('INVALID_ARGUMENT');
  expect(await checkpoint(created, '')).toBe('INVALID_ARGUMENT');
  const { info } = await daemon.runtime.status({ verbose: true });
  const { handlers, pods } = JSON.parse(info['checkpoint']!);
  expect(pods).not.toBe('');
  expect(await codeOf(daemon.runtime.checkpointPod({ podSandboxId: pod.id }))).toBe(
    'UNIMPLEMENTED',
  );
  for (const handler of Object.keys(handlers).filter((each) => handlers[each] !== '')) {
    const other = await runPod(daemon, {}, handler);
    const id = await runContainer(daemon, other, containerConfig(image));
    const call = daemon.runtime.checkpointContainer({ containerId: id, location });
    await expect(call).rejects.toMatchObject({
      details: expect.stringContaining(handlers[handler]),
    });
    expect(await checkpoint(id)).toBe('UNIMPLEMENTED');
    expect((await statusOf(daemon, id)).state).toBe(ContainerState.CONTAINER_RUNNING);
  }
  expect(await readdir(directory)).toEqual([]);
});

test('checkpoints are restored only where that is allowed', async () => {
  await using strict = await startDaemon({ network: 'none' });
  const linux = { securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } };
  const other = await runPod(strict, { linux });
  const config = containerConfig('/nonexistent/checkpoint.tar');
  expect(await codeOf(createContainer(strict, other, config))).toBe('FAILED_PRECONDITION');
});

test('an archive that is none is refused', async () => {
  const create = (path: string) =>
    codeOf(createContainer(suite.daemon, pod, containerConfig(path)));
  const archive = async (name: string, content: Buffer | string) => {
    await writeFile(join(directory, name), content);
    return join(directory, name);
  };
  expect(await create(join(directory, 'absent.tar'))).toBe('NOT_FOUND');
  expect(await create(directory)).toBe('NOT_FOUND');
  await output('mkfifo', join(directory, 'fifo'));
  expect(await create(join(directory, 'fifo'))).toBe('NOT_FOUND');
  expect(await create(await archive('text', 'no archive'))).toBe('INVALID_ARGUMENT');
  expect(await create(await archive('empty.tar', tar([])))).toBe('INVALID_ARGUMENT');
  for (const content of ['no JSON', '[]', 'null', '7', 'x'.repeat(2 << 20)]) {
    const path = await archive('lying.tar', tar([{ path: 'config.dump', content }]));
    expect(await create(path), content.slice(0, 20)).toMatch(
      /^(INVALID_ARGUMENT|NOT_FOUND|UNIMPLEMENTED)$/,
    );
  }
});

describe.skipIf(problem !== undefined)('with criu', () => {
  async function counting(on = pod): Promise<string> {
    const { daemon, image } = suite;
    const id = await runContainer(daemon, on, containerConfig(image, COUNTING));
    await waitFor('a count', () => execIn(daemon, id, 'test $(cat /count) -gt 3'));
    return id;
  }

  async function checkpointed(): Promise<{ id: string; location: string }> {
    const { daemon } = suite;
    const id = await counting();
    const location = join(directory, 'checkpoint.tar');
    await daemon.runtime.checkpointContainer({ containerId: id, location });
    return { id, location };
  }

  const count = async (id: string) => Number(await execIn(suite.daemon, id, 'cat /count'));

  async function expectToCountOn(id: string): Promise<void> {
    const before = await count(id);
    await waitFor('the count to go on', async () => (await count(id)) > before);
  }

  /** Starts a container from a checkpoint in a pod of its own and sees that it goes on. */
  async function expectToGoOn(checkpoint: string): Promise<void> {
    const { daemon } = suite;
    const other = await runPod(daemon, {}, 'runc');
    const id = await runContainer(daemon, other, containerConfig(checkpoint));
    expect(await waitFor('the count', () => count(id))).toBeGreaterThan(3);
    await expectToCountOn(id);
    expect(await execIn(daemon, id, 'cat /etc/new; ls -d /var/www 2>/dev/null || true')).toBe(
      'new',
    );
    const { info } = await daemon.runtime.status({ verbose: true });
    if (JSON.parse(info['host']!).apparmor === true) {
      const profile = await execIn(daemon, id, 'cat /proc/1/attr/current');
      expect(profile).toBe('keelson-default (enforce)');
    }
    await daemon.runtime.stopContainer({ containerId: id });
    expect((await statusOf(daemon, id)).exitCode).toBe(137);
    await daemon.runtime.removePodSandbox({ podSandboxId: other.id });
  }

  test('a container goes on after a checkpoint, and again where it is restored', async () => {
    const { id, location } = await checkpointed();
    await expectToCountOn(id);
    expect((await stat(location)).mode & 0o777).toBe(0o600);
    const names = await output('tar', '-tf', location);
    for (const name of [
      'config.dump',
      'spec.dump',
      'rootfs-diff.tar',
      'deleted.files',
      'dump.log',
    ]) {
      expect(names).toContain(`${name}\n`);
    }
    expect(names).toContain('checkpoint/inventory.img\n');
    expect(await readdir(directory)).toEqual(['checkpoint.tar']);
    await expectToGoOn(location);
  });

  test('an image with a checkpoint is restored like an archive', async () => {
    const { location } = await checkpointed();
    const layers = [buildLayer(await readFile(location))];
    const annotations = { 'org.criu.checkpoint.container.name': 'counter' };
    const image = await suite.add('checkpoint', buildImage({ layers, annotations }));
    await expectToGoOn(image);
  });

  test('a checkpoint that does not fit leaves nothing, and the container runs on', async () => {
    const { daemon } = suite;
    const id = await counting();
    await output('mount', '-t', 'tmpfs', '-o', 'size=64k', 'small', directory);
    try {
      const location = join(directory, 'checkpoint.tar');
      const call = daemon.runtime.checkpointContainer({ containerId: id, location });
      expect(await codeOf(call)).toBe('RESOURCE_EXHAUSTED');
      expect(await readdir(directory)).toEqual([]);
    } finally {
      await output('umount', directory);
    }
    await expectToCountOn(id);
  });

  // criu leaves a container as it found it: held still, if it is not waited for.
  test('a daemon that dies meanwhile has the container go on when the dump has ended', async () => {
    const { daemon } = suite;
    const id = await counting(await runPod(daemon, {}, 'slow'));
    const location = join(directory, 'checkpoint.tar');
    const call = codeOf(daemon.runtime.checkpointContainer({ containerId: id, location }));
    const work = join(daemon.paths.root, 'containers', id, 'checkpoint');
    const runtimes = () => output('ps', '-ww', '-eo', 'args');
    await waitFor('the runtime', async () => (await runtimes()).includes(`--image-path ${work}`));
    await daemon.kill9();
    expect(await call).toBe('UNAVAILABLE');
    await daemon.start();
    await writeFile(begin, '');
    await waitFor('the end', () => !existsSync(work));
    await rm(begin);
    expect(daemon.log).toContain('undid a checkpoint');
    expect(await readdir(directory)).toEqual([]);
    await expectToCountOn(id);
  });

  test('an archive made to mislead reaches nothing outside its container', async () => {
    const { daemon, image } = suite;
    const { imageRef } = await statusOf(
      daemon,
      await createContainer(daemon, pod, containerConfig(image)),
    );
    const config = (fields: object) => ({ path: 'config.dump', content: JSON.stringify(fields) });
    const good = config({ rootfsImageRef: imageRef });
    const images: TarFixtureEntry = { path: 'checkpoint/', type: 'directory' };
    const link = (path: string, target: string): TarFixtureEntry => ({
      path,
      type: 'symlink',
      target,
    });
    const victim = join(directory, 'victim');
    await writeFile(victim, 'whole');
    const up = '../'.repeat(30);
    const changes = tar([{ path: `${up}${victim}`, content: 'evil' }]);
    for (const entries of [
      [config({ rootfsImageRef: 'no.such/image:1' }), images],
      [config({ rootfsImageName: '../../etc/passwd', rootfsImage: 7 }), images],
      [good],
      [good, link('checkpoint', directory)],
      [good, images, link('checkpoint/inventory.img', victim)],
      [good, images, { path: `${up}${victim}`, content: 'evil' }],
      [good, images, { path: 'rootfs-diff.tar', content: changes }],
      [
        good,
        images,
        { path: 'deleted.files', content: JSON.stringify([`${up}${victim}`, victim]) },
      ],
      [good, images, { path: 'deleted.files', content: '{"a":1}' }],
    ]) {
      const path = join(directory, 'hostile.tar');
      await writeFile(path, tar(entries));
      const created = createContainer(daemon, pod, containerConfig(path));
      await created
        .then((containerId) => daemon.runtime.startContainer({ containerId }))
        .then(
          () => expect.unreachable('it was started'),
          () => {},
        );
      expect(await readFile(victim, 'utf8')).toBe('whole');
    }
  });
});
