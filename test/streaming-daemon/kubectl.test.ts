import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exitOf, killGroup, run, start } from '../../src/linux/index.ts';
import { criSuite, execIn, shell } from '../cri/suite.ts';
import { busyboxImage } from '../fixtures/image.ts';
import { containerConfig, type Pod, runContainer, runPod, waitFor } from '../harness/index.ts';
import { ApiStub } from '../streaming/api-stub.ts';
import { findKubectls, withoutOwnRemarks } from '../streaming/kubectl.ts';

const suite = criSuite();
let pod: Pod;
let containerId: string;
/** What `kubectl port-forward` is to forward to. */
let forwardedPod: Pod;
/** What `kubectl attach` is to attach to. */
let attachedId: string;
let api: ApiStub;
let home: string;

beforeAll(async () => {
  const { runtime } = suite.daemon;
  const image = await suite.add(
    'with-tar',
    busyboxImage({
      files: [{ path: 'bin/tar', type: 'symlink', target: 'busybox', mode: 0o777 }],
    }),
  );
  pod = await runPod(suite.daemon);
  containerId = await runContainer(suite.daemon, pod, containerConfig(image));
  api = await ApiStub.open({
    execUrl: async ({ command, ...request }) =>
      (await runtime.exec({ ...request, containerId, cmd: [...command] })).url,
    attachUrl: async (request) =>
      (await runtime.attach({ ...request, containerId: attachedId })).url,
    portForwardUrl: async () => (await runtime.portForward({ podSandboxId: forwardedPod.id })).url,
  });
  home = await mkdtemp(join(tmpdir(), 'keelson-kubectl-'));
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

describe.each(findKubectls())('%s', (kubectl) => {
  const call = (args: string[], input?: string) =>
    run(kubectl, [`--server=${api.url}`, ...args], {
      env: { HOME: home, PATH: process.env['PATH'], TERM: 'xterm' },
      signal: AbortSignal.timeout(60_000),
      ...(input === undefined ? {} : { input }),
    });
  const inShell = (script: string) =>
    run('sh', ['-c', script], {
      env: { HOME: home, PATH: process.env['PATH'] },
      signal: AbortSignal.timeout(60_000),
    });

  /** A kubectl that runs on, and what it has said so far. */
  function spawned(...args: string[]) {
    const env = { HOME: home, PATH: process.env['PATH'], TERM: 'xterm' };
    const child = start(kubectl, [`--server=${api.url}`, ...args], { env, stdio: 'pipe' });
    const said = { child, stdout: '', stderr: '' };
    child.stdout!.on('data', (chunk) => {
      said.stdout += chunk;
    });
    child.stderr!.on('data', (chunk) => {
      said.stderr += chunk;
    });
    return said;
  }

  test('exec: output, errors, input, exit code', async () => {
    const script = 'cat; echo err >&2; exit 3';
    const result = await call(['exec', '-i', 'web', '--', 'sh', '-c', script], 'typed\n');
    expect(result.stdout.toString()).toBe('typed\n');
    expect(result.stderr.toString()).toContain('err\n');
    expect(result.code).toBe(3);
    expect((await call(['exec', 'web', '--', '/no/such'])).code).toBe(127);
  });

  test('cp: a directory both ways', { timeout: 60_000 }, async () => {
    const from = await mkdtemp(join(home, 'from-'));
    await mkdir(join(from, 'tree'));
    await writeFile(join(from, 'tree', 'file'), Buffer.alloc(3_000_000, 'abc'));
    const there = await call(['cp', join(from, 'tree'), 'default/web:/tmp/tree']);
    expect({ code: there.code, stderr: withoutOwnRemarks(there.stderr) }).toEqual({
      code: 0,
      stderr: '',
    });
    expect(await execIn(suite.daemon, containerId, 'wc -c < /tmp/tree/file')).toBe('3000000');
    const back = await call(['cp', 'default/web:/tmp/tree', join(from, 'back')]);
    expect(back.code).toBe(0);
    expect((await readFile(join(from, 'back', 'file'))).length).toBe(3_000_000);
    await execIn(suite.daemon, containerId, 'rm -r /tmp/tree');
  });

  test('exec: 100 MB by hash', { timeout: 60_000 }, async () => {
    const remote = `${kubectl} --server=${api.url} exec web --`;
    const { stdout } = await inShell(
      `${remote} sh -c 'head -c 100000000 /dev/zero' | sha256sum; head -c 100000000 /dev/zero | sha256sum`,
    );
    const [first, second] = stdout.toString().trim().split('\n');
    expect(first).toBe(second);
  });

  test('exec: a reader that has enough ends the command', { timeout: 60_000 }, async () => {
    const remote = `${kubectl} --server=${api.url} exec web --`;
    expect((await inShell(`${remote} yes | head -n 1`)).stdout.toString()).toBe('y\n');
    await expect
      .poll(() => execIn(suite.daemon, containerId, 'ps | grep "[y]es$" || true'), {
        timeout: 10_000,
      })
      .toBe('');
  });

  test('attach: input and output of a running container', { timeout: 60_000 }, async () => {
    const script = 'while read line; do echo "got $line"; [ $line = bye ] && exit 0; done';
    attachedId = await runContainer(
      suite.daemon,
      pod,
      containerConfig(suite.image, { ...shell(script), stdin: true }),
    );
    const client = spawned('attach', '-i', 'web');
    client.child.stdin!.write('hello\n');
    await waitFor('the echo', async () => client.stdout.includes('got hello\n'));
    client.child.stdin!.write('bye\n');
    expect((await exitOf(client.child, kubectl)).code).toBe(0);
    expect(client.stdout).toContain('got hello\ngot bye\n');
  });

  test('port-forward: many requests at once, a port without a listener, and a pod that stops', {
    timeout: 60_000,
  }, async () => {
    forwardedPod = await runPod(suite.daemon);
    const script = 'echo welcome > /tmp/index.html; exec busybox httpd -f -p 8080 -h /tmp';
    await runContainer(suite.daemon, forwardedPod, containerConfig(suite.image, shell(script)));
    const client = spawned('port-forward', 'pod/web', ':8080', ':1');
    const local = (remote: number) =>
      new RegExp(`127\\.0\\.0\\.1:(\\d+) -> ${remote}\\n`).exec(client.stdout)?.[1];
    try {
      await waitFor('the ports', async () => local(1) !== undefined);
      const get = async () => (await fetch(`http://127.0.0.1:${local(8080)}/`)).text();
      await waitFor('the server', () =>
        get()
          .then((text) => text === 'welcome\n')
          .catch(() => false),
      );
      const all = await Promise.all(Array.from({ length: 20 }, get));
      expect(all).toEqual(all.map(() => 'welcome\n'));
      await fetch(`http://127.0.0.1:${local(1)}/`).catch(() => {});
      await waitFor('the error', async () => client.stderr.includes('Cannot connect to port 1'));
      await suite.daemon.runtime.stopPodSandbox({ podSandboxId: forwardedPod.id });
      await fetch(`http://127.0.0.1:${local(8080)}/`).catch(() => {});
      await // New versions give up after the first error that they are told.
      await waitFor('the reason', async () => /not ready|lost connection/.test(client.stderr));
    } finally {
      killGroup(client.child.pid);
    }
  });
});
