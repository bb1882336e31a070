import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { NamespaceMode, PodSandboxState } from '../../src/gen/runtime/v1/api.ts';
import { findProgram } from '../../src/linux/index.ts';
import {
  containerConfig,
  createContainer,
  logLines,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { codeOf, criSuite, ended, execIn, runToEnd, shell, statusOf } from './suite.ts';

const suite = criSuite({
  config:
    '[runtimes.second]\ntype = "runc"\n\n[runtimes.absent]\ntype = "crun"\npath = "/no/crun"\n',
});

test('configured handlers are offered if their program is there', async () => {
  const { runtimeHandlers } = await suite.daemon.runtime.status();
  const names = runtimeHandlers.map(({ name }) => name);
  expect(names).toContain('second');
  expect(names).not.toContain('absent');
  expect(await codeOf(runPod(suite.daemon, {}, 'absent'))).toBe('INVALID_ARGUMENT');
});

/** gVisor is not packaged everywhere. */
const handlers = ['crun', 'second', ...(findProgram('runsc') === undefined ? [] : ['runsc'])];

for (const handler of handlers) {
  test(`${handler}: a container lives and dies`, async () => {
    const { daemon, image } = suite;
    const pod = await runPod(daemon, {}, handler);
    const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
    expect(status).toMatchObject({ runtimeHandler: handler, state: PodSandboxState.SANDBOX_READY });
    const script = 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.1; done';
    const config = containerConfig(image, shell(script));
    const id = await createContainer(daemon, pod, config);
    await daemon.runtime.startContainer({ containerId: id });
    await waitFor('the trap', async () => (await logLines(pod, config)).includes('ready'));
    expect(await execIn(daemon, id, 'cat /proc/1/comm')).toBe('sh');
    await daemon.runtime.stopContainer({ containerId: id, timeout: 20n });
    expect(await statusOf(daemon, id)).toMatchObject({ exitCode: 3, reason: 'Error' });
    expect(await logLines(pod, config)).toEqual(['ready', 'bye']);
    await daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test(`${handler}: exit codes of commands, also of those that cannot be run`, async () => {
    const { daemon, image } = suite;
    const pod = await runPod(daemon, {}, handler);
    const containerId = await runContainer(daemon, pod, containerConfig(image));
    const code = async (...cmd: string[]) =>
      (await daemon.runtime.execSync({ containerId, cmd })).exitCode;
    expect(await code('/bin/sh', '-c', 'exit 42')).toBe(42);
    expect(await code('/bin/sh', '-c', 'kill -9 $$')).toBe(137);
    expect(await code('/no/such')).toBe(127);
    expect(await code('/etc/passwd')).toBe(126);
    const slow = daemon.runtime.execSync({ containerId, cmd: ['/bin/sleep', '1000'], timeout: 1n });
    expect(await codeOf(slow)).toBe('DEADLINE_EXCEEDED');
    expect(await execIn(daemon, containerId, 'echo alive')).toBe('alive');
  });

  test(`${handler}: limits, users, read-only root and seccomp are honoured`, async () => {
    const { daemon, image } = suite;
    const pod = await runPod(daemon, {}, handler);
    const { lines, status } = await runToEnd(daemon, pod, image, {
      ...shell('id -u; touch /x 2>/dev/null || echo ro; grep ^Seccomp: /proc/self/status'),
      linux: {
        resources: { memoryLimitInBytes: 32n << 20n, cpuShares: 100n, oomScoreAdj: 500n },
        securityContext: {
          runAsUser: { value: 1000n },
          readonlyRootfs: true,
          noNewPrivs: true,
          seccomp: { profileType: 0 },
          maskedPaths: ['/proc/uptime'],
          readonlyPaths: ['/proc/sys'],
        },
      },
    });
    expect(lines).toEqual(['1000', 'ro', 'Seccomp:\t2']);
    expect(status.exitCode).toBe(0);
  });

  // gVisor limits the memory of a pod, not of its containers, and gives no terminal.
  test.skipIf(handler === 'runsc')(`${handler}: out of memory is told`, async () => {
    const { daemon, image } = suite;
    const pod = await runPod(daemon, {}, handler);
    const { status } = await runToEnd(daemon, pod, image, {
      ...shell('x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done'),
      linux: { resources: { memoryLimitInBytes: 15n << 20n } },
    });
    expect(status).toMatchObject({ reason: 'OOMKilled', exitCode: 137 });
  });

  test(`${handler}: a command that is not there is told by name`, async () => {
    const { daemon, image } = suite;
    const pod = await runPod(daemon, {}, handler);
    const config = containerConfig(image, { command: ['/no/such/command'] });
    const call = runContainer(daemon, pod, config);
    await expect(call).rejects.toMatchObject({
      details: expect.stringContaining('/no/such/command'),
    });
    const { containers } = await daemon.runtime.listContainers({
      filter: { podSandboxId: pod.id },
    });
    for (const { id } of containers) {
      expect(await statusOf(daemon, id)).toMatchObject({
        state: 2,
        exitCode: 128,
        reason: 'StartError',
      });
    }
  });

  test.skipIf(handler === 'runsc')(`${handler}: a terminal works`, async () => {
    const { daemon, image } = suite;
    const pod = await runPod(daemon, {}, handler);
    const changes = { ...shell('test -t 0 && echo terminal'), tty: true };
    const { lines } = await runToEnd(daemon, pod, image, changes);
    expect(lines.map((line) => line.trim())).toEqual(['terminal']);
  });

  test(`${handler}: processes are shared below an init`, async () => {
    const { daemon, image } = suite;
    const shared = { linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } } };
    const pod = await runPod(daemon, shared, handler);
    const first = await runContainer(daemon, pod, containerConfig(image, shared));
    await runContainer(daemon, pod, containerConfig(image, shared));
    expect(await execIn(daemon, first, 'ps | grep -c "[s]leep 1000000"')).toBe('2');
    await daemon.runtime.stopContainer({ containerId: first });
    expect((await ended(daemon, first)).exitCode).toBe(137);
  });
}

test('the runtime that serves a handler is the one configured', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon, {}, 'second');
  const id = await runContainer(daemon, pod, containerConfig(image));
  const { info } = await daemon.runtime.containerStatus({ containerId: id, verbose: true });
  const { pid } = JSON.parse(info['info']!);
  const parent = /^PPid:\s*(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))![1]!;
  const monitor = (await readFile(`/proc/${parent}/cmdline`, 'utf8')).replaceAll('\0', ' ');
  expect(monitor).toMatch(/\/runc /);
});
