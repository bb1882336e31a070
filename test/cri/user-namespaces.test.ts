import { mkdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  type ContainerConfig,
  type DeepPartial,
  type IDMapping,
  type LinuxContainerSecurityContext,
  NamespaceMode,
  type NamespaceOption,
} from '../../src/gen/runtime/v1/api.ts';
import { busyboxImage } from '../fixtures/image.ts';
import {
  containerConfig,
  createContainer,
  type Pod,
  podConfig,
  runContainer,
  runPod,
} from '../harness/index.ts';
import { gvisorRefuses } from './gvisor-limits.ts';
import { codeOf, criSuite, execIn, runToEnd, shell, statusOf } from './suite.ts';

const suite = criSuite({ config: '[runtimes.second]\ntype = "runc"\n' });
const { POD, NODE, CONTAINER, TARGET } = NamespaceMode;

const HOST_ROOT = 200_000;
const IDS: IDMapping = { hostId: HOST_ROOT, containerId: 0, length: 65_536 };

/** Namespace options of a pod with ids of its own. */
const mapped = (changes: DeepPartial<NamespaceOption> = {}): DeepPartial<NamespaceOption> => ({
  pid: CONTAINER,
  usernsOptions: { mode: POD, uids: [IDS], gids: [IDS] },
  ...changes,
});

function security(
  namespaceOptions = mapped(),
  changes: DeepPartial<LinuxContainerSecurityContext> = {},
): { linux: { securityContext: DeepPartial<LinuxContainerSecurityContext> } } {
  return { linux: { securityContext: { namespaceOptions, ...changes } } };
}

const mappedPod = (handler = '') => runPod(suite.daemon, security(), handler);

async function pidOf(containerId: string): Promise<number> {
  const { info } = await suite.daemon.runtime.containerStatus({ containerId, verbose: true });
  return (JSON.parse(info['info']!) as { pid: number }).pid;
}

async function say(pod: Pod, script: string, changes: DeepPartial<ContainerConfig> = {}) {
  const all = { ...shell(`{ ${script}; } 2>&1`), ...security(), ...changes };
  return (await runToEnd(suite.daemon, pod, suite.image, all)).lines;
}

for (const handler of ['crun', 'second']) {
  test(`${handler}: root of a container is nobody on the host`, async () => {
    const { daemon, image } = suite;
    const pod = await mappedPod(handler);
    const id = await runContainer(daemon, pod, containerConfig(image, security()));
    expect(await execIn(daemon, id, 'id -u; cat /proc/self/uid_map')).toMatch(
      new RegExp(`^0\n +0 +${HOST_ROOT} +65536$`),
    );
    const pid = await pidOf(id);
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    expect(status).toMatch(new RegExp(`^Uid:\t${HOST_ROOT}\t${HOST_ROOT}`, 'm'));
    const namespace = (type: string) => readlink(`/proc/${pid}/ns/${type}`);
    expect(await namespace('user')).not.toBe(await readlink('/proc/self/ns/user'));
    const { status: told } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
    expect(told!.linux!.namespaces!.options!.usernsOptions).toMatchObject({
      mode: POD,
      uids: [IDS],
      gids: [IDS],
    });
    const second = await runContainer(daemon, pod, containerConfig(image, security()));
    expect(await readlink(`/proc/${await pidOf(second)}/ns/user`)).toBe(await namespace('user'));
  });

  test(`${handler}: the image's files are root's, and what is written stays so`, async () => {
    const pod = await mappedPod(handler);
    const lines = await say(
      pod,
      [
        'stat -c %u:%g / /bin/busybox /etc/passwd /tmp',
        'echo x > /made && stat -c %u /made && chown 1000:1000 /made && stat -c %u:%g /made',
        'echo y >> /etc/passwd && stat -c %u /etc/passwd',
        'stat -c %u /etc/hosts /dev/shm /dev/null && echo 1.2.3.4 x >> /etc/hosts',
        'chown 70000 /made || echo unmapped',
      ].join('; '),
    );
    expect(lines.slice(0, 12)).toEqual([
      ...['0:0', '0:0', '0:0', '0:0'],
      ...['0', '1000:1000', '0'],
      ...['0', '0', expect.any(String)],
      ...lines.slice(10, 12),
    ]);
    expect(lines.at(-1)).toBe('unmapped');
  });

  test(`${handler}: volumes show the owners of the host as the pod's`, async () => {
    const { daemon } = suite;
    const pod = await mappedPod(handler);
    const hostPath = join(daemon.directory, `volume-${handler}`);
    await mkdir(hostPath);
    await writeFile(join(hostPath, 'file'), 'mapped\n');
    const ids = { uidMappings: [IDS], gidMappings: [IDS] };
    const mounts = [
      { containerPath: '/mapped', hostPath, ...ids },
      { containerPath: '/file', hostPath: join(hostPath, 'file'), ...ids, readonly: true },
      { containerPath: '/plain', hostPath },
    ];
    const script =
      'stat -c %u /mapped/file /file /plain/file; echo new > /mapped/new; echo x > /file || true';
    const lines = await say(pod, script, { mounts });
    expect(lines.slice(0, 3)).toEqual(['0', '0', '65534']);
    expect((await stat(join(hostPath, 'new'))).uid).toBe(0);
    expect(await readFile(join(hostPath, 'file'), 'utf8')).toBe('mapped\n');
  });

  test(`${handler}: the pod's network and sysctls are its own`, async () => {
    const { daemon, image } = suite;
    const sysctls = { 'net.ipv4.ip_forward': '1', 'kernel.shm_rmid_forced': '1' };
    const pod = await runPod(daemon, { linux: { ...security().linux, sysctls } }, handler);
    const admin = security(mapped(), { capabilities: { addCapabilities: ['NET_ADMIN'] } });
    const id = await runContainer(daemon, pod, containerConfig(image, admin));
    const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
    const { ip } = status!.network!;
    const script = [
      'cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced',
      'ip link set lo down && ip link set lo up && echo changed',
      `ping -c 1 -W 5 ${ip} > /dev/null && echo pong`,
      'hostname',
    ].join('; ');
    expect(await execIn(daemon, id, script)).toBe(
      ['1', '1', 'changed', 'pong', pod.config.hostname].join('\n'),
    );
  });

  test(`${handler}: processes are shared below an init that is mapped too`, async () => {
    const { daemon, image } = suite;
    const shared = security(mapped({ pid: POD }));
    const pod = await runPod(daemon, shared, handler);
    const id = await runContainer(daemon, pod, containerConfig(image, shared));
    expect(await execIn(daemon, id, 'stat -c %u /proc/1; ps | grep -c "[s]leep 1000000"')).toBe(
      '0\n1',
    );
    const target = security(mapped({ pid: TARGET, targetId: id }));
    const beside = await runContainer(daemon, pod, containerConfig(image, target));
    expect(await execIn(daemon, beside, 'ps | grep -c "[s]leep 1000000"')).toBe('2');
  });
}

test(
  'set-uid programs of an image get the rights of their owner, in the pod',
  gvisorRefuses,
  async () => {
    const files = [
      { path: 'bin/busybox-root', content: await readFile('/bin/busybox'), mode: 0o4755 },
      {
        path: 'etc/passwd',
        content: 'root::0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n',
      },
    ];
    const image = await suite.add('setuid', busyboxImage({ files }));
    const pod = await mappedPod();
    const { lines } = await runToEnd(suite.daemon, pod, image, {
      ...shell('id -u; busybox-root su -c "id -u" root; ls -ln /bin/busybox-root'),
      ...security(mapped(), { runAsUser: { value: 1000n } }),
    });
    expect(lines).toEqual(['1000', '0', expect.stringMatching(/^-rwsr-xr-x +1 0 +0 /)]);
  },
);

test('volumes of the image belong to the pod', gvisorRefuses, async () => {
  const files = [
    { path: 'data/', type: 'directory' as const, mode: 0o750, uid: 33, gid: 33 },
    { path: 'data/file', content: 'in the image\n', uid: 33, gid: 33 },
  ];
  const config = { Volumes: { '/data': {}, '/new': {} } };
  const image = await suite.add('owned-volumes', busyboxImage({ files, config }));
  const pod = await mappedPod();
  const { lines } = await runToEnd(suite.daemon, pod, image, {
    ...shell('stat -c %u:%g:%a /data; stat -c %u /data/file /new; touch /new/x && echo written'),
    ...security(),
  });
  expect(lines).toEqual(['33:33:750', '33', '0', 'written']);
});

test('all mounts that it took are gone when the container is there', gvisorRefuses, async () => {
  const { daemon, image } = suite;
  const pod = await mappedPod();
  const hostPath = daemon.directory;
  const mounts = [{ containerPath: '/data', hostPath, uidMappings: [IDS], gidMappings: [IDS] }];
  await runContainer(daemon, pod, containerConfig(image, { mounts, ...security() }));
  const info = await readFile(`/proc/${daemon.pid}/mountinfo`, 'utf8');
  const targets = info.split('\n').map((line) => line.split(' ')[4] ?? '');
  expect(targets.filter((target) => target.includes('/sources/'))).toEqual([]);
});

test(
  'a restart takes such pods up, and a crash leaves nothing of them',
  gvisorRefuses,
  async () => {
    const { daemon, image } = suite;
    const pod = await mappedPod();
    const id = await runContainer(daemon, pod, containerConfig(image, security()));
    await daemon.kill9();
    await daemon.restart();
    expect(await execIn(daemon, id, 'id -u')).toBe('0');
    const again = await runContainer(daemon, pod, containerConfig(image, security()));
    expect(await readlink(`/proc/${await pidOf(again)}/ns/user`)).toBe(
      await readlink(`/proc/${await pidOf(id)}/ns/user`),
    );
    await daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
    const mounts = await readFile('/proc/self/mountinfo', 'utf8');
    expect(mounts).not.toContain(pod.id);
  },
);

test('handlers say that they can do it', gvisorRefuses, async () => {
  const { runtimeHandlers, features } = await suite.daemon.runtime.status();
  const able = runtimeHandlers.filter((each) => each.features!.userNamespaces);
  expect(able.map(({ name }) => name)).toEqual(expect.arrayContaining(['', 'crun', 'second']));
  expect(features!.userNamespacesHostNetwork).toBe(false);
});

test("namespaces of the host are refused beside the pod's own ids", async () => {
  const refusal = (changes: DeepPartial<NamespaceOption>) =>
    codeOf(suite.daemon.runtime.runPodSandbox({ config: podConfig(security(mapped(changes))) }));
  expect(await refusal({ network: NODE })).toBe('INVALID_ARGUMENT');
  expect(await refusal({ pid: NODE })).toBe('INVALID_ARGUMENT');
  expect(await refusal({ ipc: NODE })).toBe('INVALID_ARGUMENT');
});

test('mappings that make no sense are refused', async () => {
  const refusal = (uids: IDMapping[], gids = [IDS], mode: NamespaceMode = POD) =>
    codeOf(
      suite.daemon.runtime.runPodSandbox({
        config: podConfig(security(mapped({ usernsOptions: { mode, uids, gids } }))),
      }),
    );
  expect(await refusal([])).toBe('INVALID_ARGUMENT');
  expect(await refusal([IDS, { ...IDS, containerId: 65_536 }])).toBe('INVALID_ARGUMENT');
  expect(await refusal([{ ...IDS, containerId: 1 }])).toBe('INVALID_ARGUMENT');
  expect(await refusal([{ ...IDS, length: 0 }])).toBe('INVALID_ARGUMENT');
  expect(await refusal([{ ...IDS, hostId: 4_294_967_000 }])).toBe('INVALID_ARGUMENT');
  expect(await refusal([IDS], [])).toBe('INVALID_ARGUMENT');
  expect(await refusal([IDS], [IDS], CONTAINER)).toBe('INVALID_ARGUMENT');
});

test("a container has its pod's ids, and no others", gvisorRefuses, async () => {
  const { daemon, image } = suite;
  const attempt = (pod: Pod, namespaceOptions: DeepPartial<NamespaceOption>) =>
    codeOf(createContainer(daemon, pod, containerConfig(image, security(namespaceOptions))));
  const pod = await mappedPod();
  const other = [{ ...IDS, hostId: 300_000 }];
  const others = mapped({ usernsOptions: { mode: POD, uids: other, gids: other } });
  expect(await attempt(pod, others)).toBe('INVALID_ARGUMENT');
  expect(await attempt(pod, { pid: CONTAINER })).toBe('INVALID_ARGUMENT');
  const plain = await runPod(daemon);
  expect(await attempt(plain, mapped())).toBe('INVALID_ARGUMENT');
  expect(await attempt(plain, { pid: CONTAINER, usernsOptions: { mode: NODE } })).toBe('OK');
  const mounts = [
    { containerPath: '/d', hostPath: '/etc', uidMappings: other, gidMappings: other },
  ];
  const config = containerConfig(image, { mounts, ...security() });
  expect(await codeOf(createContainer(daemon, pod, config))).toBe('INVALID_ARGUMENT');
  const unmapped = containerConfig(image, { mounts });
  expect(await codeOf(createContainer(daemon, plain, unmapped))).toBe('INVALID_ARGUMENT');
  expect(
    (await statusOf(daemon, await createContainer(daemon, pod, containerConfig(image, security()))))
      .id,
  ).toBeTruthy();
});
