import { createHash } from 'node:crypto';
import { readFile, realpath, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { ContainerConfig } from '../../src/gen/runtime/v1/api.ts';
import { type DeepPartial, NamespaceMode } from '../../src/gen/runtime/v1/api.ts';
import { findProgram } from '../../src/linux/index.ts';
import { criSuite, execIn, shell } from '../cri/suite.ts';
import { busyboxImage } from '../fixtures/image.ts';
import { containerConfig, output, type Pod, runContainer, runPod } from '../harness/index.ts';

// What runs in a container tries to get out: root with the usual capabilities and, as kubelets
// have it unless told otherwise, without a seccomp filter. Every attack tells that it was tried.
const suite = criSuite({ config: '[runtimes.runc]\ntype = "runc"\n' });

/** Runs attacks in a container, one per line, and answers what came of each. */
async function attack(containerId: string, lines: readonly string[]): Promise<string[]> {
  const script = lines
    .map(
      (line) =>
        `if (${line}) >/dev/null 2>&1; then echo 'DONE: ${line.replaceAll("'", '"')}'; else echo failed; fi`,
    )
    .join('\n');
  return (await execIn(suite.daemon, containerId, script)).split('\n');
}

/** Where a container has control groups, in a shell; on v1 each lies in a tmpfs of the container's own. */
const CGROUPS = '$(awk "\\$3 ~ /^cgroup/ {print \\$2}" /proc/mounts)';

/** What a kubelet sends for containers with the default `procMount`. */
const KUBELET_PATHS = {
  maskedPaths: [
    ...['asound', 'acpi', 'interrupts', 'kcore', 'keys', 'latency_stats', 'timer_list'].map(
      (name) => `/proc/${name}`,
    ),
    ...['/proc/timer_stats', '/proc/sched_debug', '/proc/scsi', '/sys/firmware'],
  ],
  readonlyPaths: ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'].map((name) => `/proc/${name}`),
};

const allFailed = (lines: readonly string[]) => lines.map(() => 'failed');

async function expectAllToFail(containerId: string, lines: readonly string[]): Promise<void> {
  expect(await attack(containerId, lines)).toEqual(allFailed(lines));
}

/** A container's first process as the host sees it. */
async function pidOf(containerId: string): Promise<number> {
  const { info } = await suite.daemon.runtime.containerStatus({ containerId, verbose: true });
  return JSON.parse(info['info']!).pid;
}

/** The block device with the test's own files, as `MAJOR MINOR`. */
async function hostDisk(): Promise<string> {
  const { dev } = await stat('/');
  const major = Number((BigInt(dev) >> 8n) & 0xfffn);
  const minor = Number((BigInt(dev) & 0xffn) | ((BigInt(dev) >> 12n) & 0xfff00n));
  return `${major} ${minor}`;
}

test('the attacks would be noticed if they succeeded', async () => {
  const pod = await runPod(suite.daemon);
  const id = await runContainer(suite.daemon, pod, containerConfig(suite.image));
  expect(await attack(id, ['true', 'false', 'echo x > /tmp/x'])).toEqual([
    'DONE: true',
    'failed',
    'DONE: echo x > /tmp/x',
  ]);
});

describe.each(['crun', 'runc'])('%s', (handler) => {
  let pod: Pod;
  let id: string;

  const run = (changes: DeepPartial<ContainerConfig> = {}, on = pod, image = suite.image) =>
    runContainer(suite.daemon, on, containerConfig(image, changes));

  beforeAll(async () => {
    pod = await runPod(suite.daemon, {}, handler);
    id = await run({ linux: { securityContext: KUBELET_PATHS } });
  });

  test('kernel settings cannot be written, nor masks taken off', async () => {
    await expectAllToFail(id, [
      'echo 0 > /proc/sys/kernel/dmesg_restrict',
      'echo "|/evil" > /proc/sys/kernel/core_pattern',
      'echo /evil > /proc/sys/kernel/modprobe',
      'echo 1 > /proc/sys/vm/drop_caches',
      'echo 1 > /proc/sys/net/ipv4/ip_forward',
      'echo h > /proc/sysrq-trigger',
      'echo /evil > /sys/kernel/uevent_helper',
      'echo x > /sys/kernel/mm/ksm/run',
      'umount /proc/kcore',
      'umount /proc/sys',
      'busybox mount -o remount,rw /proc/sys',
      'busybox mount -o remount,bind,rw /sys',
      'busybox mount -t proc proc /tmp',
      'busybox mount -t sysfs sysfs /tmp',
      'test -s /proc/kcore',
      'test -s /proc/keys',
      'test -n "$(ls -A /sys/firmware)"',
      'busybox dd if=/proc/kcore of=/tmp/kcore bs=1 count=1 && test -s /tmp/kcore',
    ]);
  });

  test('a user namespace of its own gives a container no way around masks', async () => {
    const inside = (script: string) =>
      `busybox unshare -U -r -m -p -f /bin/sh -c "mkdir -p /tmp/m; ${script}"`;
    await expectAllToFail(id, [
      inside('mount -t proc proc /tmp/m && test -s /tmp/m/kcore'),
      inside('umount /proc/kcore'),
      inside('umount -l /proc/sys'),
      inside('mount -o remount,bind,rw /proc/sys'),
      inside('echo 1 > /proc/sys/vm/drop_caches'),
      inside('mount -t cgroup -o memory cgroup /tmp/m && echo /evil > /tmp/m/release_agent'),
      inside('busybox mknod /tmp/m/disk b 1 0'),
    ]);
  });

  test('no device of the host can be made or opened', async () => {
    const disk = await hostDisk();
    await expectAllToFail(id, [
      `busybox mknod /tmp/disk b ${disk} && head -c 1 /tmp/disk`,
      'busybox mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem',
      'busybox mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg',
      'busybox mknod /tmp/fuse c 10 229 && exec 3<>/tmp/fuse',
      'busybox mknod /tmp/loop c 10 237 && exec 3<>/tmp/loop',
      'test -e /dev/mem || test -e /dev/kmsg || test -e /dev/fuse || test -e /dev/log',
    ]);
  });

  test('cgroups can be neither written nor mounted', async () => {
    await expectAllToFail(id, [
      'find /sys/fs/cgroup -name release_agent | while read f; do echo /evil > $f && exit 1; done && false',
      'for f in $(find /sys/fs/cgroup -name cgroup.procs); do echo $$ > $f && exit 0; done; false',
      'for f in $(find /sys/fs/cgroup -name "*limit_in_bytes" -o -name "*.max"); do echo 1 > $f && exit 0; done; false',
      'for f in $(find /sys/fs/cgroup -name devices.allow); do echo a > $f && exit 0; done; false',
      `for d in ${CGROUPS}; do mkdir $d/evil && exit 0; done; false`,
      'busybox mount -t cgroup -o memory cgroup /tmp',
      'busybox mount -t cgroup2 cgroup2 /tmp',
      `for d in ${CGROUPS}; do busybox mount -o remount,bind,rw $d && exit 0; done; false`,
    ]);
  });

  test("what is outside the container's files stays outside", async () => {
    const secret = join(suite.daemon.directory, `secret-${handler}`);
    await writeFile(secret, 'secret');
    const up = '../'.repeat(30);
    await expectAllToFail(id, [
      `test -e /${up}${secret}`,
      `test -e /proc/1/root${secret}`,
      `test -e /proc/1/cwd/${up}${secret}`,
      `mkdir -p /tmp/jail && busybox chroot /tmp/jail /bin/true; cd /; test -e ${up}${secret}`,
      'for fd in /proc/[0-9]*/fd/*; do case $(readlink $fd) in ""|pipe:*|socket:*|/dev/null|/proc/*|anon_inode:*) ;; *) exit 0;; esac; done; false',
      `for fd in /proc/[0-9]*/fd/*; do test -e $fd/${up}${secret} && exit 0; done; false`,
      `for fd in /proc/[0-9]*/fd/*; do test -e $fd/${secret} && exit 0; done; false`,
    ]);
    // The shell of the exec runs `ls` itself: 3 is the directory that it reads.
    const names = await execIn(suite.daemon, id, 'ls /proc/1/fd; echo; ls /proc/$$/fd');
    expect(names.split('\n')).toEqual(['0', '1', '2', '', '0', '1', '2', '3']);
  });

  test('processes of other pods and of the host can be neither seen, traced nor signalled', async () => {
    const other = await runPod(suite.daemon, {}, handler);
    const otherId = await run(shell('SECRET=1 exec sleep 54321'), other);
    const pid = await pidOf(otherId);
    await expectAllToFail(id, [
      'busybox ps | grep -q "[s]leep 54321"',
      `test -e /proc/${pid}`,
      `kill -9 ${pid}`,
      `kill -9 ${suite.daemon.pid}`,
      `busybox nsenter -t ${pid} -m true`,
      `cat /proc/${pid}/environ`,
      'busybox nsenter -t 1 -p true',
    ]);
    // All that it can reach: its own processes, of which the first ignores what it does not handle.
    const own = await run();
    await suite.daemon.runtime.execSync({
      containerId: own,
      cmd: ['/bin/sh', '-c', 'kill -9 -1'],
    });
    expect(await execIn(suite.daemon, otherId, 'echo alive')).toBe('alive');
    expect(await execIn(suite.daemon, id, 'echo alive')).toBe('alive');
    expect(suite.daemon.running).toBe(true);
  });

  test("with the host's PIDs a container still cannot get at processes with more rights", async () => {
    const node = { linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.NODE } } } };
    const hostPids = await runPod(suite.daemon, node, handler);
    const containerId = await run(node, hostPids);
    const { pid } = suite.daemon;
    expect(await attack(containerId, [`test -e /proc/${pid}`])).toEqual([
      `DONE: test -e /proc/${pid}`,
    ]);
    await expectAllToFail(
      containerId,
      [1, pid].flatMap((each) => [
        `ls /proc/${each}/root/`,
        `ls /proc/${each}/cwd/`,
        `ls /proc/${each}/fd/0`,
        `cat /proc/${each}/environ`,
        `head -c 1 /proc/${each}/exe`,
        `exec 3<>/proc/${each}/mem`,
        `busybox nsenter -t ${each} -m true`,
        `busybox nsenter -t ${each} -n true`,
      ]),
    );
  });

  test("the host's sockets are out of reach of a pod's network", async () => {
    const name = `keelson-test-${handler}-${process.pid}`;
    await using tcp = await listening({ host: '127.0.0.1', port: 0 });
    await using _abstract = await listening({ path: `\0${name}` });
    const { port } = tcp.server.address() as { port: number };
    expect(await readFile('/proc/net/unix', 'utf8')).toContain(`@${name}`);
    await expectAllToFail(id, [
      `grep ${name} /proc/net/unix`,
      `busybox nc -w 1 -z 127.0.0.1 ${port}`,
      `busybox nc -w 1 -z $(busybox ip route | sed -n "s/default via \\([0-9.]*\\).*/\\1/p") ${port}`,
      'busybox ip link add evil type veth peer name evil2',
      'busybox ip addr add 127.0.0.2/8 dev lo',
      'busybox ip link set eth0 down',
      `busybox nsenter --net=/proc/1/ns/net true`,
    ]);
  });

  test('a runtime that is made to run in a container cannot be overwritten', async () => {
    const programs = ['crun', 'runc', 'conmon', 'catatonit'].map((name) => findProgram(name)!);
    const digests = () =>
      Promise.all(
        programs.map(async (path) =>
          createHash('sha256')
            .update(await readFile(await realpath(path)))
            .digest('hex'),
        ),
      );
    const before = await digests();
    const files = [
      { path: 'victim', content: '#!/proc/self/exe\n', mode: 0o755 },
      // Holds open each program that is not the container's own, to write to it once it has ended.
      {
        path: 'attacker',
        mode: 0o755,
        content: `#!/bin/sh
        while :; do
          for p in /proc/[0-9]*; do
            case $(readlink $p/exe) in /bin/busybox|'') continue;; esac
            exec 3<$p/exe || continue
            echo caught >> /caught
            while test -e $p/exe; do :; done
            echo evil > /proc/self/fd/3 && echo written >> /written
            echo evil >> /proc/self/fd/3 && echo written >> /written
          done
        done`,
      },
    ];
    const image = await suite.add(`overwriting-${handler}`, busyboxImage({ files }));
    const containerId = await run({ command: ['/attacker'] }, pod, image);
    for (let round = 0; round < 3; round++) {
      await suite.daemon.runtime.execSync({ containerId, cmd: ['/victim'] }).catch(() => {});
      await suite.daemon.runtime
        .execSync({ containerId, cmd: ['/proc/self/exe', '--version'] })
        .catch(() => {});
    }
    expect(await execIn(suite.daemon, containerId, 'cat /written 2>/dev/null; true')).toBe('');
    expect(await digests()).toEqual(before);
  });

  test('the init of a pod with shared PIDs cannot be overwritten either', async () => {
    const shared = { linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } } };
    const sharing = await runPod(suite.daemon, shared, handler);
    const containerId = await run(shared, sharing);
    const init = await realpath(findProgram('catatonit')!);
    const before = await readFile(init);
    await expectAllToFail(containerId, [
      'echo evil > /proc/1/exe',
      'echo evil > /proc/1/root/init',
      'rm /proc/1/root/init',
      'test -e /proc/1/root/etc/passwd',
      'kill -9 1; sleep 0.1; ! test -e /proc/1',
    ]);
    expect(await execIn(suite.daemon, containerId, 'cat /proc/1/comm')).toBe('init');
    expect((await readFile(init)).equals(before)).toBe(true);
  });

  test('neither image nor container reach the programs that run them', async () => {
    const files = ['sh', 'crun', 'runc', 'conmon', 'sleep'].map((name) => ({
      path: `evil/${name}`,
      content: '#!/bin/busybox sh\necho evil\n',
      mode: 0o755,
    }));
    const config = {
      Env: ['PATH=/evil:/bin', 'LD_PRELOAD=/evil/lib.so', 'LISTEN_FDS=7', '_OCI_SYNCPIPE=9'],
    };
    const image = await suite.add(`hostile-path-${handler}`, busyboxImage({ files, config }));
    const containerId = await run({}, pod, image);
    const { stdout } = await suite.daemon.runtime.execSync({ containerId, cmd: ['sleep', '1'] });
    expect(stdout.toString()).toBe('evil\n'); // In the container, where it may say what it likes.
    const status = await readFile(`/proc/${await pidOf(containerId)}/status`, 'utf8');
    const monitor = /^PPid:\s*(\d+)/m.exec(status)![1]!;
    const environ = await readFile(`/proc/${monitor}/environ`, 'utf8');
    expect(environ).not.toMatch(/evil|LISTEN_FDS=7|_OCI_SYNCPIPE=9/);
    expect(await output('readlink', `/proc/${monitor}/exe`)).not.toContain('evil');
  });
});

async function listening(options: object) {
  const server = createServer((socket) => socket.end());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(options, resolve);
  });
  return {
    server,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}
