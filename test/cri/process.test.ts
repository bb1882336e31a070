import { beforeAll, expect, test } from 'vitest';
import type { ContainerConfig, DeepPartial } from '../../src/gen/runtime/v1/api.ts';
import { busyboxImage } from '../fixtures/image.ts';
import { containerConfig, createContainer, type Pod, runPod } from '../harness/index.ts';
import { gvisorDiffers, gvisorRefuses } from './gvisor-limits.ts';
import { codeOf, criSuite, runToEnd, shell } from './suite.ts';

const suite = criSuite();
let pod: Pod;
/** An image whose entrypoint prints its arguments. */
let speaking: string;

beforeAll(async () => {
  pod = await runPod(suite.daemon);
  speaking = await suite.add(
    'speaking',
    busyboxImage({
      config: {
        Entrypoint: ['/bin/say', 'entry'],
        Cmd: ['cmd'],
        Env: ['PATH=/bin', 'FROM=image', 'BOTH=image'],
        WorkingDir: '/work/dir',
        Volumes: { '/volume': {}, '/fresh/volume': {} },
      },
      files: [
        { path: 'bin/say', content: '#!/bin/sh\necho "$(printf "[%s]" "$@")"\n', mode: 0o755 },
        { path: 'volume/', type: 'directory', mode: 0o700, uid: 12, gid: 34 },
        { path: 'volume/file', content: 'from the image\n' },
      ],
    }),
  );
});

async function lines(changes: DeepPartial<ContainerConfig>, image = suite.image, on = pod) {
  const run = await runToEnd(suite.daemon, on, image, changes);
  expect(run.lines, `exit ${run.status.exitCode}`).not.toEqual([]);
  return run.lines.map((line) => line.replace(/\r$/, ''));
}

const value = (text: string) => Buffer.from(text);

test("without a command the image's entrypoint runs, with its own arguments or those given", async () => {
  expect(await lines({ command: [] }, speaking)).toEqual(['[entry][cmd]']);
  expect(await lines({ command: [], args: ['a', 'b'] }, speaking)).toEqual(['[entry][a][b]']);
});

test('a command replaces entrypoint and arguments of the image', async () => {
  expect(await lines({ command: ['/bin/say', 'own'] }, speaking)).toEqual(['[own]']);
  expect(await lines({ command: ['say'], args: ['x'] }, speaking)).toEqual(['[x]']);
});

test('without any command the container is refused', async () => {
  const silent = await suite.add('silent', busyboxImage({ config: { Cmd: [] } }));
  const call = createContainer(suite.daemon, pod, containerConfig(silent, { command: [] }));
  await expect(call).rejects.toMatchObject({ code: 3, details: expect.stringMatching(/command/) });
});

test("the environment is the image's and, over it, the container's", async () => {
  const envs = [
    { key: 'BOTH', value: value('container') },
    { key: 'EQUALS', value: value('a=b = c') },
    { key: 'EMPTY', value: value('') },
    { key: 'UTF8', value: value('zwölf') },
    { key: 'TWICE', value: value('1') },
    { key: 'TWICE', value: value('2') },
  ];
  const all = await lines({ command: ['/bin/env'], envs }, speaking);
  expect(all).toEqual(
    expect.arrayContaining([
      'PATH=/bin',
      'FROM=image',
      'BOTH=container',
      'EQUALS=a=b = c',
      'EMPTY=',
      'UTF8=zwölf',
      'TWICE=2',
      `HOSTNAME=${pod.config.hostname}`,
    ]),
  );
  const names = all.map((line) => line.split('=')[0]);
  expect(new Set(names).size).toBe(names.length);
  expect(names).not.toContain('TERM');
});

test('TERM is set on a terminal, and PATH where the image has none', gvisorRefuses, async () => {
  const bare = await suite.add('bare', busyboxImage({ config: { Env: [] } }));
  const all = await lines({ command: ['/bin/env'], tty: true }, bare);
  expect(all).toContain('TERM=xterm');
  expect(all).toContain('PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin');
});

test('names and values that cannot be are refused', async () => {
  const refused = async (changes: DeepPartial<ContainerConfig>) => {
    const call = createContainer(suite.daemon, pod, containerConfig(suite.image, changes));
    expect(await codeOf(call)).toBe('INVALID_ARGUMENT');
  };
  await refused({ envs: [{ key: '', value: value('x') }] });
  await refused({ envs: [{ key: 'A=B', value: value('x') }] });
  await refused({ envs: [{ key: 'A', value: value('x\0y') }] });
  await refused({ envs: [{ key: 'A', value: Buffer.from([0xff, 0xfe]) }] });
  await refused({ command: ['/bin/echo', 'a\0b'] });
  await refused({ workingDir: 'relative' });
  await refused({ workingDir: '/a\0b' });
});

test("the working directory is the container's, the image's, or /; it is made where absent", async () => {
  expect(await lines({ command: ['/bin/pwd'] }, speaking)).toEqual(['/work/dir']);
  expect(await lines({ command: ['/bin/pwd'], workingDir: '/not/yet' }, speaking)).toEqual([
    '/not/yet',
  ]);
  expect(await lines({ command: ['/bin/pwd'] })).toEqual(['/']);
});

test("an image's volumes hold what the image has there, each container its own", async () => {
  const look =
    'cat /volume/file; stat -c "%a %u %g" /volume; echo mine > /volume/file; cat /volume/file';
  const expected = ['from the image', '700 12 34', 'mine'];
  expect(await lines(shell(look), speaking)).toEqual(expected);
  expect(await lines(shell(look), speaking)).toEqual(expected);
  const mounts = await lines(shell('grep -c volume /proc/mounts; ls -d /fresh/volume'), speaking);
  expect(mounts).toEqual(['2', '/fresh/volume']);
});

test('a volume is writable on a read-only root filesystem', async () => {
  const script = 'touch /x 2>/dev/null || echo ro; touch /fresh/volume/x && echo rw';
  const linux = { securityContext: { readonlyRootfs: true } };
  expect(await lines({ ...shell(script), linux }, speaking)).toEqual(['ro', 'rw']);
});

test('default mounts and devices are those of every container', gvisorDiffers, async () => {
  const mounts = await lines(shell('cat /proc/mounts'));
  const byTarget = new Map(mounts.map((line) => [line.split(' ')[1], line.split(' ')]));
  for (const [target, type] of [
    ['/', 'overlay'],
    ['/proc', 'proc'],
    ['/dev', 'tmpfs'],
    ['/dev/pts', 'devpts'],
    ['/dev/mqueue', 'mqueue'],
    ['/sys', 'sysfs'],
    ['/dev/shm', 'tmpfs'],
  ]) {
    expect(byTarget.get(target)?.[2], target).toBe(type);
  }
  expect(byTarget.get('/sys')![3]!.split(',')).toEqual(
    expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec']),
  );
  for (const file of ['hostname', 'hosts', 'resolv.conf']) {
    expect(byTarget.has(`/etc/${file}`), file).toBe(true);
  }
  const devices = 'for d in null zero full random urandom tty; do test -c /dev/$d && echo $d; done';
  expect(await lines(shell(devices))).toEqual(['null', 'zero', 'full', 'random', 'urandom', 'tty']);
  const use =
    'echo x > /dev/null; head -c 4 /dev/zero | wc -c; ls /dev/fd /dev/ptmx > /dev/null && echo links';
  expect(await lines(shell(use))).toEqual(['4', 'links']);
});

test('/dev/shm is shared in the pod, of 64 MiB, and not that of other pods', async () => {
  const other = await runPod(suite.daemon);
  const size = await lines(shell('echo mine > /dev/shm/note; df -k /dev/shm | tail -1'));
  expect(size[0]).toMatch(/\s65536\s/);
  expect(await lines(shell('cat /dev/shm/note; stat -c %a /dev/shm'))).toEqual(['mine', '1777']);
  expect(await lines(shell('ls /dev/shm | wc -l'), suite.image, other)).toEqual(['0']);
});

test('a container without stdin reads its end at once', async () => {
  expect(await lines(shell('cat; echo end'))).toEqual(['end']);
});

test('a container with a terminal has it as its stdin', gvisorRefuses, async () => {
  expect(await lines({ ...shell('tty; test -t 0 && echo yes'), tty: true })).toEqual([
    expect.stringMatching(/^\/dev\/(pts\/\d+|console)$/),
    'yes',
  ]);
});
