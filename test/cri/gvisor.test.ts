import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  type ContainerConfig,
  type DeepPartial,
  MountPropagation,
  NamespaceMode,
  PodSandboxState,
  SecurityProfile_ProfileType as ProfileType,
} from '../../src/gen/runtime/v1/api.ts';
import { findProgram } from '../../src/linux/index.ts';
import {
  containerConfig,
  createContainer,
  output,
  type Pod,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { CommandClient } from '../streaming-daemon/command-client.ts';
import { codeOf, criSuite, ended, execIn, runToEnd, shell, statusOf } from './suite.ts';

// What is particular to pods in a kernel of their own; the rest of what runsc does is in
// handlers.test.ts. TEST_RUNTIME=runsc runs any other file of this directory with it.
describe.skipIf(findProgram('runsc') === undefined)('gVisor', () => {
  const suite = criSuite();
  let pod: Pod;
  let id: string;

  beforeAll(async () => {
    pod = await runPod(suite.daemon, { hostname: 'guarded' }, 'runsc');
    id = await runContainer(suite.daemon, pod, containerConfig(suite.image));
  });

  test('a pod has a kernel of its own, and the name and address that it was given', async () => {
    const { daemon } = suite;
    expect(await execIn(daemon, id, 'busybox dmesg')).toContain('gVisor');
    expect(await execIn(daemon, id, 'hostname')).toBe('guarded');
    const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
    expect(await execIn(daemon, id, 'ip -4 addr show dev eth0')).toContain(status!.network!.ip);
  });

  test('containers of a pod share its network, also with who comes from outside', async () => {
    const { daemon, image } = suite;
    const server = shell('httpd -p 80 -h /var/www; exec sleep 1000000');
    await runContainer(daemon, pod, containerConfig(image, server));
    const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
    const page = await waitFor('the page', () =>
      fetch(`http://${status!.network!.ip}/`).then((answer) => answer.text()),
    );
    expect(page).toContain('Keelson');
    const request = 'printf "GET / HTTP/1.0\\r\\n\\r\\n"';
    await waitFor('the page inside', async () =>
      (await execIn(daemon, id, `(${request}; sleep 1) | nc 127.0.0.1 80`)).includes('Keelson'),
    );
  });

  test('a container reads what its client sends, and ends as it says', async () => {
    const { daemon, image } = suite;
    const { status, lines } = await runToEnd(daemon, pod, image, shell('echo out; exit 42'));
    expect(status).toMatchObject({ exitCode: 42, reason: 'Error' });
    expect(lines).toEqual(['out']);
    const killed = await runContainer(daemon, pod, containerConfig(image));
    await daemon.runtime.stopContainer({ containerId: killed });
    expect((await statusOf(daemon, killed)).exitCode).toBe(137);
  });

  test('a command that takes too long is ended inside the sandbox too', async () => {
    const { daemon } = suite;
    const cmd = ['/bin/sh', '-c', 'trap "" TERM; (sleep 7654; true) & wait'];
    const call = daemon.runtime.execSync({ containerId: id, cmd, timeout: 1n });
    expect(await codeOf(call)).toBe('DEADLINE_EXCEEDED');
    expect(await execIn(daemon, id, 'ps | grep -E "[t]rap|[s]leep 7654" || true')).toBe('');
  });

  test('the first process of a user other than root has the ambient capabilities alone', async () => {
    const { daemon, image } = suite;
    const effective = async (addAmbientCapabilities: string[]) => {
      const { lines } = await runToEnd(daemon, pod, image, {
        ...shell('grep ^CapEff /proc/1/status; true'),
        linux: {
          securityContext: {
            runAsUser: { value: 1000n },
            namespaceOptions: { pid: NamespaceMode.CONTAINER },
            capabilities: { addAmbientCapabilities },
          },
        },
      });
      return lines[0];
    };
    expect(await effective([])).toBe('CapEff:\t0000000000000000');
    expect(await effective(['NET_BIND_SERVICE'])).toBe('CapEff:\t0000000000000400');
  });

  test('a command has a terminal', async () => {
    const cmd = ['sh', '-c', 'test -t 0 && echo terminal; read x; echo "got $x"; exit 7'];
    const request = { containerId: id, cmd, tty: true, stdin: true };
    const client = await CommandClient.exec(suite.daemon, request);
    await client.shows('terminal');
    await client.type('word\r');
    expect(await client.exitCode()).toBe(7);
    expect(client.stdout).toBe('terminal\r\nword\r\ngot word\r\n');
  });

  test('a crash of the daemon ends the commands that it was running', async () => {
    const { daemon } = suite;
    const cmd = ['/bin/sh', '-c', 'trap "" TERM HUP; sleep 7655; sleep 7656'];
    const call = daemon.runtime.execSync({ containerId: id, cmd }).catch(() => {});
    await waitFor('the command', () => execIn(daemon, id, 'ps | grep "[s]leep 7655"'));
    await daemon.kill9();
    await call;
    await daemon.start();
    expect(await execIn(daemon, id, 'ps | grep -E "[t]rap|[s]leep 765[56]" || true')).toBe('');
    expect(await readdir(join(daemon.paths.state, 'exec'))).toEqual([]);
  });

  test('a container that was never started goes away', async () => {
    const { daemon, image } = suite;
    const containerId = await createContainer(daemon, pod, containerConfig(image));
    await daemon.runtime.removeContainer({ containerId });
    expect(await codeOf(statusOf(daemon, containerId))).toBe('NOT_FOUND');
  });

  test('what the kernel of a pod cannot give is refused', async () => {
    const { daemon, image } = suite;
    const refused = (changes: DeepPartial<ContainerConfig>) =>
      codeOf(createContainer(daemon, pod, containerConfig(image, changes)));
    const namespaces = (options: object) => ({
      linux: { securityContext: { namespaceOptions: options } },
    });
    const mount = { hostPath: daemon.directory, containerPath: '/m' };
    const { PROPAGATION_BIDIRECTIONAL } = MountPropagation;
    for (const changes of [
      { tty: true },
      namespaces({ pid: NamespaceMode.NODE }),
      namespaces({ pid: NamespaceMode.TARGET, targetId: id }),
      { devices: [{ hostPath: '/dev/null', containerPath: '/dev/x', permissions: 'r' }] },
      { mounts: [{ ...mount, propagation: PROPAGATION_BIDIRECTIONAL }] },
      { mounts: [{ ...mount, mountOptions: ['nosuid'] }] },
      { linux: { securityContext: { maskedPaths: ['/proc/keys', '/var/www'] } } },
      { linux: { securityContext: { readonlyPaths: ['/proc/../etc'] } } },
    ]) {
      expect(await refused(changes), JSON.stringify(changes)).toBe('INVALID_ARGUMENT');
    }
    for (const linux of [
      namespaces({ pid: NamespaceMode.NODE }).linux,
      namespaces({ pid: NamespaceMode.CONTAINER, ipc: NamespaceMode.NODE }).linux,
      { sysctls: { 'kernel.shmmax': '1' } },
    ]) {
      expect(await codeOf(runPod(daemon, { linux }, 'runsc'))).toBe('INVALID_ARGUMENT');
    }
    // A host without AppArmor would say something else.
    const apparmor = { profileType: ProfileType.Localhost, localhostRef: 'some-profile' };
    const profiled = { linux: { securityContext: { apparmor } } };
    const ofItsOwn = { details: expect.stringContaining('has a kernel of its own') };
    const create = createContainer(daemon, pod, containerConfig(image, profiled));
    await expect(create).rejects.toMatchObject(ofItsOwn);
    await expect(runPod(daemon, profiled, 'runsc')).rejects.toMatchObject(ofItsOwn);
    const update = { containerId: id, linux: { cpuShares: 5n } };
    expect(await codeOf(daemon.runtime.updateContainerResources(update))).toBe('UNIMPLEMENTED');
  });

  test('a pod outlives the daemon, and its end is told by the next one', async () => {
    const { daemon, image } = suite;
    const waiting = shell('while ! test -e /tmp/end; do sleep 0.1; done; exit 9');
    const containerId = await runContainer(daemon, pod, containerConfig(image, waiting));
    await daemon.kill9();
    await daemon.start();
    expect(await execIn(daemon, id, 'echo alive; touch /tmp/x')).toBe('alive');
    await execIn(daemon, containerId, 'touch /tmp/end');
    expect(await ended(daemon, containerId)).toMatchObject({ exitCode: 9 });
  });

  test('a pod whose sandbox dies is not ready, and can be removed', async () => {
    const { daemon, image } = suite;
    const doomed = await runPod(daemon, {}, 'runsc');
    const containerId = await runContainer(daemon, doomed, containerConfig(image));
    const { info } = await daemon.runtime.containerStatus({ containerId, verbose: true });
    const standIn = JSON.parse(info['info']!).pid as number;
    expect(await readFile(`/proc/${standIn}/comm`, 'utf8')).toBe('sh\n');
    const sandboxes = await output('pgrep', '-f', `^runsc-sandbox.* ${doomed.id}$`);
    process.kill(Number(sandboxes), 'SIGKILL');
    await waitFor('the pod to be not ready', async () => {
      const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId: doomed.id });
      return status?.state === PodSandboxState.SANDBOX_NOTREADY;
    });
    expect((await ended(daemon, containerId)).exitCode).not.toBe(0);
    await daemon.runtime.removePodSandbox({ podSandboxId: doomed.id });
  });
});
