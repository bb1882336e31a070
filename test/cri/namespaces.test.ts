import { readFileSync } from 'node:fs';
import { readlink } from 'node:fs/promises';
import { hostname, networkInterfaces } from 'node:os';
import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { NamespaceMode, PodSandboxState } from '../../src/gen/runtime/v1/api.ts';
import {
  containerConfig,
  createContainer,
  type Pod,
  podConfig,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { gvisorDiffers, gvisorRefuses, onGvisor } from './gvisor-limits.ts';
import { codeOf, criSuite, execIn, runToEnd, shell, statusOf } from './suite.ts';

const suite = criSuite();
const { POD, CONTAINER, NODE, TARGET } = NamespaceMode;

const options = (namespaceOptions: object) => ({
  linux: { securityContext: { namespaceOptions } },
});

/** The namespaces that a container sees, by kind. */
async function namespaces(id: string): Promise<Record<string, string>> {
  const text = await execIn(
    suite.daemon,
    id,
    'for n in net ipc uts pid mnt; do echo $n $(readlink /proc/self/ns/$n); done',
  );
  return Object.fromEntries(text.split('\n').map((line) => line.split(' ')));
}

async function hostNamespace(kind: string): Promise<string> {
  return readlink(`/proc/${suite.daemon.pid}/ns/${kind}`);
}

async function podWith(
  namespaceOptions: object,
): Promise<{ pod: Pod; run: () => Promise<string> }> {
  const pod = await runPod(suite.daemon, options(namespaceOptions));
  const run = () =>
    runContainer(suite.daemon, pod, containerConfig(suite.image, options(namespaceOptions)));
  return { pod, run };
}

test(
  'containers of a pod share network, IPC and host name, but not processes and mounts',
  gvisorDiffers,
  async () => {
    const { run } = await podWith({ pid: CONTAINER });
    const [first, second] = [await namespaces(await run()), await namespaces(await run())];
    for (const kind of ['net', 'ipc', 'uts']) {
      expect(first[kind], kind).toBe(second[kind]);
      expect(first[kind], kind).not.toBe(await hostNamespace(kind));
    }
    for (const kind of ['pid', 'mnt']) expect(first[kind], kind).not.toBe(second[kind]);
  },
);

test('a container with processes of its own sees no others, and is number 1', async () => {
  const { run } = await podWith({ pid: CONTAINER });
  const id = await run();
  expect(await execIn(suite.daemon, id, 'cat /proc/1/cmdline | tr "\\0" " "')).toBe(
    '/bin/sleep 1000000 ',
  );
  const ids = await execIn(suite.daemon, id, 'ls /proc | grep -E "^[0-9]+$" | wc -l');
  expect(Number(ids)).toBeLessThan(10);
});

test('a pod without shared processes needs no process of its own', gvisorDiffers, async () => {
  const { pod } = await podWith({ pid: CONTAINER });
  const { info } = await suite.daemon.runtime.podSandboxStatus({
    podSandboxId: pod.id,
    verbose: true,
  });
  expect(JSON.parse(info['info']!).pid).toBe(0);
});

test('with shared processes each container sees those of the others, below an init', async () => {
  const { run } = await podWith({ pid: POD });
  const first = await run();
  const second = await run();
  expect((await namespaces(first))['pid']).toBe((await namespaces(second))['pid']);
  expect((await namespaces(first))['pid']).not.toBe(await hostNamespace('pid'));
  const sleeps = await execIn(suite.daemon, first, 'ps | grep -c "[s]leep 1000000"');
  expect(sleeps).toBe('2');
  expect(await execIn(suite.daemon, first, 'cat /proc/1/comm')).toMatch(/^(init|catatonit)/);
  const victim = await execIn(
    suite.daemon,
    first,
    'ps | grep "[s]leep 1000000" | awk \'{ print $1 }\' | sort -n | tail -1',
  );
  await execIn(suite.daemon, first, `kill -9 ${victim}`);
  const other = await waitFor('the end of the other', async () => {
    const status = await statusOf(suite.daemon, second);
    return status.exitCode === 137 && status;
  });
  expect(other.reason).toBe('Error');
});

test('orphans in a shared PID namespace are reaped by its init', async () => {
  const { run } = await podWith({ pid: POD });
  const id = await run();
  await execIn(suite.daemon, id, '(sleep 0.1 &) ; true');
  await waitFor('no zombies', async () => {
    const found = await execIn(suite.daemon, id, 'grep -l "^State:.Z" /proc/[0-9]*/status | wc -l');
    return found === '0';
  });
});

test(
  'a pod whose init ended is not ready, and is stopped and removed like others',
  gvisorDiffers,
  async () => {
    const { daemon } = suite;
    const { pod, run } = await podWith({ pid: POD });
    const containerId = await run();
    const status = async () =>
      daemon.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
    process.kill(JSON.parse((await status()).info['info']!).pid, 'SIGKILL');
    await waitFor('the pod is not ready', async () => {
      return (await status()).status!.state === PodSandboxState.SANDBOX_NOTREADY;
    });
    await waitFor('the end of its container', async () => {
      return (await statusOf(daemon, containerId)).exitCode === 137;
    });
    const create = createContainer(daemon, pod, containerConfig(suite.image));
    expect(await codeOf(create)).toBe('FAILED_PRECONDITION');
    await daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
    await daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
  },
);

test('a container that targets another shares its processes', gvisorRefuses, async () => {
  const { daemon, image } = suite;
  const { pod, run } = await podWith({ pid: CONTAINER });
  const targetId = await run();
  const debug = containerConfig(image, options({ pid: TARGET, targetId }));
  const id = await runContainer(daemon, pod, debug);
  expect((await namespaces(id))['pid']).toBe((await namespaces(targetId))['pid']);
  expect(await execIn(daemon, id, 'ps | grep -c "[s]leep 1000000"')).toBe('2');
});

test('a target must be a running container of the same pod', gvisorRefuses, async () => {
  const { daemon, image } = suite;
  const { pod, run } = await podWith({ pid: CONTAINER });
  const elsewhere = await (await podWith({ pid: CONTAINER })).run();
  const attempt = (targetId: string) =>
    codeOf(
      createContainer(daemon, pod, containerConfig(image, options({ pid: TARGET, targetId }))),
    );
  expect(await attempt('')).toBe('INVALID_ARGUMENT');
  expect(await attempt('0'.repeat(64))).toBe('INVALID_ARGUMENT');
  expect(await attempt(elsewhere)).toBe('INVALID_ARGUMENT');
  const stopped = await run();
  await daemon.runtime.stopContainer({ containerId: stopped });
  expect(await attempt(stopped)).toBe('FAILED_PRECONDITION');
  const sandbox = podConfig(options({ pid: TARGET, targetId: stopped }));
  expect(await codeOf(daemon.runtime.runPodSandbox({ config: sandbox }))).toBe('INVALID_ARGUMENT');
});

test('processes cannot be shared in a pod that was not made for it', gvisorDiffers, async () => {
  const { pod } = await podWith({ pid: CONTAINER });
  const config = containerConfig(suite.image, options({ pid: POD }));
  expect(await codeOf(createContainer(suite.daemon, pod, config))).toBe('INVALID_ARGUMENT');
});

test("on the host's network a pod has its interfaces and name, and no address of its own", async () => {
  const { pod, run } = await podWith({ network: NODE, pid: CONTAINER });
  const id = await run();
  const seen = await namespaces(id);
  if (!onGvisor) {
    expect(seen['net']).toBe(await hostNamespace('net'));
    expect(seen['uts']).toBe(await hostNamespace('uts'));
    expect(seen['ipc']).not.toBe(await hostNamespace('ipc'));
  }
  const interfaces = await execIn(suite.daemon, id, 'cat /proc/net/dev');
  for (const name of Object.keys(networkInterfaces())) expect(interfaces).toContain(`${name}:`);
  expect(await execIn(suite.daemon, id, 'hostname')).toBe(hostname());
  const { status } = await suite.daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
  expect(status!.network!.ip).toBe('');
});

test("with the host's IPC a pod shares its /dev/shm", gvisorRefuses, async () => {
  const { run } = await podWith({ ipc: NODE, pid: CONTAINER });
  const id = await run();
  const seen = await namespaces(id);
  expect(seen['ipc']).toBe(await hostNamespace('ipc'));
  expect(seen['net']).not.toBe(await hostNamespace('net'));
  const name = `keelson-test-${basename(suite.daemon.directory)}`;
  await execIn(suite.daemon, id, `echo shared > /dev/shm/${name}`);
  expect(readFileSync(`/dev/shm/${name}`, 'utf8')).toBe('shared\n');
  await execIn(suite.daemon, id, `rm /dev/shm/${name}`);
});

test("with the host's processes a container sees the daemon", gvisorRefuses, async () => {
  const { run } = await podWith({ pid: NODE });
  const id = await run();
  expect((await namespaces(id))['pid']).toBe(await hostNamespace('pid'));
  const command = await execIn(suite.daemon, id, `cat /proc/${suite.daemon.pid}/cmdline`);
  expect(command).toContain('serve');
});

test('modes that make no sense are refused', async () => {
  const attempt = (namespaceOptions: object) =>
    codeOf(suite.daemon.runtime.runPodSandbox({ config: podConfig(options(namespaceOptions)) }));
  expect(await attempt({ network: CONTAINER })).toBe('INVALID_ARGUMENT');
  expect(await attempt({ ipc: TARGET })).toBe('INVALID_ARGUMENT');
  expect(await attempt({ pid: 99 })).toBe('INVALID_ARGUMENT');
});

test('a stop of the pod ends what containers left running', async () => {
  const { daemon, image } = suite;
  const { pod } = await podWith({ pid: POD });
  const { lines } = await runToEnd(daemon, pod, image, {
    ...shell('sleep 1000000 & echo started'),
    ...options({ pid: POD }),
  });
  expect(lines).toEqual(['started']);
  await daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
});

test("the pod's own process runs as the user and with the filter that the pod names", async () => {
  const { daemon, image } = suite;
  const security = {
    namespaceOptions: { pid: POD },
    runAsUser: { value: 1234n },
    runAsGroup: { value: 5678n },
    supplementalGroups: [90n],
  };
  const look = async (changes: object) => {
    const pod = await runPod(daemon, { linux: { securityContext: { ...security, ...changes } } });
    const id = await runContainer(daemon, pod, containerConfig(image, options({ pid: POD })));
    const ids = await execIn(daemon, id, 'grep -E "^(Uid|Gid|Groups|Seccomp):" /proc/1/status');
    return ids.replaceAll(/[\t ]+/g, ' ');
  };
  const ids = 'Uid: 1234 1234 1234 1234\nGid: 5678 5678 5678 5678\nGroups: 90 ';
  expect(await look({})).toBe(`${ids}\nSeccomp: 2`);
  expect(await look({ seccomp: { profileType: 1 } })).toBe(`${ids}\nSeccomp: 0`);
  const absent = { seccomp: { profileType: 2, localhostRef: '/no/such/profile' } };
  expect(await codeOf(look(absent))).toBe('INVALID_ARGUMENT');
});
