import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { ContainerConfig, DeepPartial } from '../../src/gen/runtime/v1/api.ts';
import { codeOf, criSuite, execIn, runToEnd, shell } from '../cri/suite.ts';
import { busyboxImage } from '../fixtures/image.ts';
import type { TarFixtureEntry } from '../fixtures/tar.ts';
import {
  containerConfig,
  output,
  type Pod,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';

// Images made to mislead: what the daemon and the runtimes mount, make and read by name lies
// behind links to the host.
const suite = criSuite({ config: '[runtimes.runc]\ntype = "runc"\n' });
const UP = '../'.repeat(30);

const added = new Map<string, Promise<string>>();

/** An image of these files beside busybox, which both runtimes are tried with. */
function imageOf(
  name: string,
  files: readonly TarFixtureEntry[],
  config: Record<string, unknown> = {},
): Promise<string> {
  const image = added.get(name) ?? suite.add(name, busyboxImage({ files, config }));
  added.set(name, image);
  return image;
}

/** A directory of the host with a file that no container may see, below which nothing may appear. */
async function bait(name: string): Promise<string> {
  const directory = join(suite.daemon.directory, `bait-${name}`);
  await mkdir(directory, { recursive: true });
  for (const child of ['etc', 'proc', 'dev', 'volume'])
    await mkdir(join(directory, child), { recursive: true });
  await writeFile(join(directory, 'secret'), 'of the host');
  await writeFile(join(directory, 'etc', 'hosts'), 'of the host');
  return directory;
}

async function snapshot(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true });
  const hosts = await readFile(join(directory, 'etc', 'hosts'), 'utf8');
  const mounts = await output('grep', '-c', '', '/proc/self/mountinfo');
  const below = (await readFile('/proc/self/mountinfo', 'utf8')).includes(directory);
  return [...entries.sort(), hosts, `${below}`, mounts].slice(0, -1);
}

describe.each(['crun', 'runc'])('%s', (handler) => {
  let pod: Pod;

  beforeAll(async () => {
    pod = await runPod(suite.daemon, {}, handler);
  });

  /** Runs a container of an image, whether it comes to life or not, and answers what it wrote. */
  async function tryToRun(image: string, changes: DeepPartial<ContainerConfig>): Promise<string> {
    try {
      return (await runToEnd(suite.daemon, pod, image, changes)).lines.join('\n');
    } catch {
      return 'refused';
    }
  }

  test.each(['absolute', 'upward'])(
    'links in place of mount points lead nowhere (%s)',
    async (form) => {
      const host = await bait(form);
      const lead = form === 'absolute' ? '' : UP;
      const link = (path: string, to = path): TarFixtureEntry => ({
        path,
        type: 'symlink',
        target: `${lead}${host}/${to}`,
      });
      const before = await snapshot(host);
      for (const path of ['proc', 'dev', 'sys', 'etc/hosts', 'etc/resolv.conf']) {
        const image = await imageOf(`link-${form}-${path.replaceAll(/[/.]/g, '-')}`, [link(path)]);
        const said = await tryToRun(image, shell(`cat ${host}/secret; echo evil >> /${path}`));
        expect(said, path).not.toContain('of the host');
        expect(await snapshot(host), path).toEqual(before);
      }
    },
  );

  test('links in place of volumes, their targets and the working directory lead nowhere', async () => {
    const host = await bait('places');
    const own = join(suite.daemon.directory, 'own');
    await mkdir(own, { recursive: true });
    const files: TarFixtureEntry[] = [
      { path: 'volume', type: 'symlink', target: `${host}/volume` },
      { path: 'work', type: 'symlink', target: `${UP}${host}` },
      { path: 'data', type: 'symlink', target: `${UP}${host}/etc` },
      { path: 'up', type: 'symlink', target: UP },
    ];
    const image = await imageOf('places', files, {
      Volumes: { '/volume': {}, [`/up${host}`]: {} },
    });
    const before = await snapshot(host);
    for (const containerPath of [
      '/data/new',
      '/data',
      `/up${host}/etc/new`,
      `/${UP}${host}/deep/er`,
    ]) {
      const changes = { mounts: [{ hostPath: own, containerPath }] };
      const said = await tryToRun(image, { ...shell(`cat ${host}/secret`), ...changes });
      expect(said, containerPath).not.toContain('of the host');
      expect(await snapshot(host), containerPath).toEqual(before);
    }
    for (const workingDir of ['/work', '/work/new', `/${UP}${host}`, `/up${host}/made`]) {
      const said = await tryToRun(image, { ...shell('cat secret; pwd; touch evil'), workingDir });
      expect(said, workingDir).not.toContain('of the host');
      expect(await snapshot(host), workingDir).toEqual(before);
    }
  });

  test('a working directory behind an open descriptor of the runtime does not lead out', async () => {
    const secret = join(suite.daemon.directory, 'fd-secret');
    await writeFile(secret, 'of the host');
    const files: TarFixtureEntry[] = [
      { path: 'seven', type: 'symlink', target: '/proc/self/fd/7' },
      { path: 'eight', type: 'symlink', target: '/proc/self/fd/8/../../..' },
    ];
    const image = await imageOf('descriptors', files);
    const descriptors = [3, 4, 5, 6, 7, 8, 9, 10].map((fd) => `/proc/self/fd/${fd}`);
    for (const workingDir of [...descriptors, '/seven', '/eight']) {
      const said = await tryToRun(image, { ...shell(`cat ${UP}${secret}`), workingDir });
      expect(said, workingDir).not.toContain('of the host');
    }
  });

  test('a device in an image is none of the host', async () => {
    const files: TarFixtureEntry[] = [
      { path: 'memory', type: 'character', major: 1, minor: 1, mode: 0o666 },
      { path: 'kmsg', type: 'character', major: 1, minor: 11, mode: 0o666 },
      { path: 'fuse', type: 'character', major: 10, minor: 229, mode: 0o666 },
      { path: 'disk', type: 'block', major: 254, minor: 0, mode: 0o666 },
    ];
    const image = await imageOf('devices', files);
    const script = files
      .map(
        ({ path }) =>
          `test -e /${path} || echo missing; head -c 1 /${path} >/dev/null && echo read`,
      )
      .join('; ');
    expect(await tryToRun(image, shell(`(${script}) 2>/dev/null; echo end`))).toBe('end');
  });

  test('what is odd in place of /etc/passwd and /etc/group hangs nothing', async () => {
    const odd: Record<string, TarFixtureEntry[]> = {
      fifo: [{ path: 'etc/passwd', type: 'fifo' }],
      groups: [{ path: 'etc/group', type: 'fifo' }],
      directory: [{ path: 'etc/passwd/', type: 'directory' }],
      device: [{ path: 'etc/passwd', type: 'character', major: 1, minor: 5 }],
      loop: [{ path: 'etc/passwd', type: 'symlink', target: 'passwd' }],
      host: [{ path: 'etc/passwd', type: 'symlink', target: `${UP}etc/passwd` }],
      zero: [{ path: 'etc/passwd', type: 'symlink', target: '/dev/zero' }],
      terminal: [{ path: 'etc/group', type: 'symlink', target: '/dev/console' }],
      lines: [{ path: 'etc/passwd', content: 'x:x:1:1::/:/bin/sh\n'.repeat(50_000) }],
      line: [{ path: 'etc/passwd', content: `root:x:0:0:${'x'.repeat(3 << 20)}:/:/bin/sh\n` }],
    };
    for (const [name, files] of Object.entries(odd)) {
      const image = await imageOf(`odd-${name}`, files);
      for (const runAsUsername of ['', 'sshd']) {
        const securityContext = { runAsUsername, supplementalGroups: [7n] };
        const changes = { ...shell('echo alive'), linux: { securityContext } };
        expect(await tryToRun(image, changes), name).toMatch(/^(refused|alive)$/);
      }
    }
  });

  test('a runtime that waits for a hostile /etc/passwd holds up its own container only', async () => {
    const { daemon } = suite;
    const files: TarFixtureEntry[] = [
      { path: 'etc/passwd', type: 'symlink', target: '/dev/stdin' },
      { path: 'etc/group', type: 'symlink', target: '/dev/stdin' },
    ];
    const image = await imageOf('stdin', files);
    const config = containerConfig(image, { ...shell('echo alive'), stdin: true });
    // runc reads it before it runs the command: what was begun is undone when nobody waits any more.
    const request = { podSandboxId: pod.id, config, sandboxConfig: pod.config };
    const creation = daemon.runtime.createContainer(request, { timeout: 1500 });
    await runContainer(daemon, pod, containerConfig(suite.image));
    if ((await codeOf(creation)) !== 'OK') expect(handler).toBe('runc');
    await waitFor('an end of the creation', async () => {
      const { containers } = await daemon.runtime.listContainers();
      return containers.every(
        ({ metadata }) => handler === 'crun' || metadata?.name !== config.metadata?.name,
      );
    });
  });

  test('a container that puts a FIFO in place of its /etc/passwd hangs no command for good', async () => {
    const { daemon, image } = suite;
    const config = containerConfig(image);
    const containerId = await runContainer(daemon, pod, config);
    await execIn(
      daemon,
      containerId,
      'rm /etc/passwd /etc/group; busybox mkfifo /etc/passwd /etc/group',
    );
    const cmd = ['/bin/sh', '-c', 'echo alive'];
    const answer = await daemon.runtime.execSync({ containerId, cmd, timeout: 1n }).then(
      ({ stdout }) => stdout.toString(),
      () => 'given up',
    );
    expect(answer).toMatch(/^(alive\n|given up)$/);
    await daemon.runtime.stopContainer({ containerId });
  });
});
