import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  builtinPlugins,
  CniRuntime,
  ExecInvoker,
  installLaunchers,
  PROGRAM_TYPES,
  uninstallLaunchers,
} from '../../src/cni/index.ts';
import {
  ask,
  Bench,
  clearOwnHost,
  enterOwnHost,
  inside,
  REFERENCE,
  serveAddress,
} from './plugin-harness.ts';
import { attachment, forever, leftovers, stressList } from './stress-host.ts';

let bench: Bench;
let bin: string;

beforeAll(enterOwnHost);

beforeEach(async () => {
  bench = new Bench();
  bin = join(bench.directory, 'bin');
  await installLaunchers(bin);
});

afterEach(async () => {
  await bench.close();
  clearOwnHost();
});

interface Started {
  env?: Record<string, string>;
  input?: string;
  /** What a shell is to do before, in a mount namespace of its own. */
  before?: string;
}

/** Runs a launcher as any runtime does: by environment and standard input. */
async function run(type: string, { env = {}, input = '', before }: Started) {
  const shell = ['unshare', '--mount', 'sh', '-ec', `${before}\nexec "$0"`];
  const [program = '', ...args] = [...(before === undefined ? [] : shell), join(bin, type)];
  const child = spawn(program, args, {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', CNI_PATH: bin, ...env },
  });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode];
  return { code, stderr, output: stdout === '' ? undefined : JSON.parse(stdout) };
}

describe('host-device, by the id that the runtime gives,', () => {
  /** Calls it with a directory /sys/bus of the shell's making. */
  function caller(deviceID: string, sysfs: string) {
    const ipam = { type: 'static', addresses: [{ address: '10.78.0.5/24' }] };
    const config = { cniVersion: '1.0.0', name: 'net', ipam, runtimeConfig: { deviceID } };
    const netns = bench.namespace();
    const env = { CNI_CONTAINERID: 'device1', CNI_NETNS: netns, CNI_IFNAME: 'eth0' };
    return (command: string, more = {}) =>
      run('host-device', {
        env: { ...env, CNI_COMMAND: command },
        input: JSON.stringify({ ...config, ...more }),
        before: `mount -t tmpfs none /sys/bus\n${sysfs}`,
      });
  }

  test('takes an auxiliary device', async () => {
    inside(undefined, 'ip', 'link', 'add', 'dev9', 'type', 'veth', 'peer', 'name', 'peer9');
    const id = 'mlx5_core.sf.4';
    const call = caller(id, `mkdir -p /sys/bus/auxiliary/devices/${id}/net/dev9`);
    expect((await call('ADD')).output).toMatchObject({
      interfaces: [{ name: 'eth0' }],
      ips: [{ address: '10.78.0.5/24', interface: 0 }],
    });
    expect(inside(undefined, 'ip', 'link')).not.toContain('dev9');
    expect(await call('DEL')).toMatchObject({ code: 0 });
    expect(inside(undefined, 'ip', 'link')).toContain('dev9');
  });

  test('gives a card that a program drives addresses, and no interface', async () => {
    const device = '/sys/bus/pci/devices/0000:00:01.0';
    const call = caller('0000:00:01.0', `mkdir -p ${device}; ln -s vfio-pci ${device}/driver`);
    const { output: prevResult } = await call('ADD');
    expect(prevResult).toEqual({
      cniVersion: '1.0.0',
      ips: [{ address: '10.78.0.5/24' }],
      dns: {},
    });
    expect(await call('CHECK', { prevResult })).toMatchObject({ code: 0 });
    expect(await call('DEL')).toMatchObject({ code: 0 });
  });
});

describe('installing', () => {
  test('writes an executable for each plugin that needs no daemon', () => {
    expect(readdirSync(bin).sort()).toEqual([...PROGRAM_TYPES]);
    const builtIn = builtinPlugins().map(({ type }) => type);
    expect(builtIn.filter((type) => type !== 'dhcp').sort()).toEqual([...PROGRAM_TYPES]);
    for (const type of PROGRAM_TYPES) expect(statSync(join(bin, type)).mode & 0o777).toBe(0o755);
  });

  test('again replaces what it wrote, and uninstalling removes it', async () => {
    writeFileSync(join(bin, 'mine'), 'mine');
    await installLaunchers(bin);
    expect(await uninstallLaunchers(bin)).toHaveLength(PROGRAM_TYPES.length);
    expect(readdirSync(bin)).toEqual(['mine']);
  });

  test('leaves other files alone, unless forced', async () => {
    await uninstallLaunchers(bin);
    writeFileSync(join(bin, 'bridge'), '#!/bin/sh\necho mine\n');
    symlinkSync(join(REFERENCE, 'ptp'), join(bin, 'ptp'));
    await expect(installLaunchers(bin)).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: expect.stringMatching(/bridge", ".*ptp" would be replaced .*--force/),
    });
    expect(readdirSync(bin).sort()).toEqual(['bridge', 'ptp']);
    expect(await uninstallLaunchers(bin)).toEqual([]);
    await installLaunchers(bin, { force: true });
    expect(readFileSync(join(bin, 'ptp'), 'utf8')).toContain('keelson cni');
    expect(statSync(join(REFERENCE, 'ptp')).size).toBeGreaterThan(100_000);
  });
});

describe('a launcher', () => {
  const hostLocal = () =>
    JSON.stringify({
      ...{ cniVersion: '0.4.0', name: 'net' },
      ipam: { type: 'host-local', subnet: '10.4.0.0/24', dataDir: bench.path('ipam') },
    });
  const variables = {
    ...{ CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c1', CNI_NETNS: '/absent', CNI_IFNAME: 'eth0' },
  };

  test('answers a call in the version asked', async () => {
    const { code, output } = await run('host-local', { env: variables, input: hostLocal() });
    expect({ code, output }).toEqual({
      code: 0,
      output: {
        cniVersion: '0.4.0',
        ips: [{ version: '4', address: '10.4.0.2/24', gateway: '10.4.0.1' }],
        dns: {},
      },
    });
    const env = { ...variables, CNI_COMMAND: 'DEL', CNI_NETNS: '' };
    expect(await run('host-local', { env, input: hostLocal() })).toMatchObject({ code: 0 });
    expect(readdirSync(bench.path('ipam/net')).sort()).toEqual(['last_reserved_ip.0', 'lock']);
  });

  test.each(['host-local', 'bridge', 'tuning'])('%s tells its versions', async (type) => {
    const env = { CNI_COMMAND: 'VERSION' };
    const { output } = await run(type, { env, input: '{"cniVersion":"1.0.0"}' });
    expect(output.cniVersion).toBe('1.0.0');
    expect(output.supportedVersions).toContain('1.1.0');
  });

  test.each([
    [{ CNI_COMMAND: 'VERSION' }, '"cniVersion":"1.1.0"'],
    [{ CNI_COMMAND: 'ADD' }, '[CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing'],
  ])('does not wait for input with %j', async (env, answer) => {
    const child = spawn(join(bin, 'host-local'), { env });
    expect(await text(child.stdout)).toContain(answer);
    child.stdin.end();
  });

  test('without a command tells what it is', async () => {
    const { code, stderr } = await run('portmap', {});
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /^CNI portmap plugin of Keelson\nCNI protocol versions supported: 0.1.0/,
    );
  });

  test.each<[number, Started]>([
    [4, { env: { CNI_COMMAND: 'ADD' } }],
    [4, { env: { CNI_COMMAND: 'BOGUS' } }],
    [6, { env: variables, input: '{' }],
    [6, { env: variables }],
    [1, { env: variables, input: '{"cniVersion":"3.0.0","name":"x"}' }],
    [7, { env: variables, input: '{"cniVersion":"1.0.0","name":"x"}' }],
    [4, { env: { ...variables, CNI_IFNAME: 'a/b' }, input: '{"cniVersion":"1.0.0","name":"x"}' }],
    [
      8,
      {
        env: { ...variables, CNI_NETNS: '/proc/self/ns/net' },
        input: '{"cniVersion":"1.0.0","name":"x"}',
      },
    ],
  ])('fails with code %i', async (code, started) => {
    const ended = await run('host-local', started);
    expect(ended.code).toBe(1);
    expect(ended.output).toMatchObject({ code, msg: expect.stringMatching(/./) });
  });

  test('that is terminated gives up and says so', async () => {
    const child = spawn(join(bin, 'host-local'), { env: { ...variables, CNI_PATH: bin } });
    // It waits for the lock of the store, which somebody else has.
    const directory = join(bench.path('ipam'), 'net');
    mkdirSync(directory);
    const holder = spawn('flock', [
      join(directory, 'lock'),
      'sh',
      '-c',
      'echo held; exec sleep 60',
    ]);
    await once(holder.stdout, 'data');
    try {
      child.stdin.end(hostLocal());
      const stdout = text(child.stdout);
      // Its handler is there when it has opened the lock's file.
      const isWaiting = () =>
        readdirSync(`/proc/${child.pid}/fd`).some((fd) =>
          linkOf(child.pid, fd).endsWith('/net/lock'),
        );
      await expect.poll(isWaiting, { timeout: 10_000 }).toBe(true);
      child.kill('SIGTERM');
      expect(JSON.parse(await stdout)).toMatchObject({ msg: expect.stringContaining('SIGTERM') });
    } finally {
      holder.kill();
      child.kill('SIGKILL');
    }
  });
});

function linkOf(pid: number | undefined, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return '';
  }
}

describe('networks whose plugins are launchers', () => {
  /** A directory with some plugins of Debian and some launchers. */
  function directoryOf(programs: Record<string, 'ours' | 'reference'>): string {
    const mixed = bench.path('mixed');
    for (const [type, kind] of Object.entries(programs)) {
      symlinkSync(join(kind === 'ours' ? bin : REFERENCE, type), join(mixed, type));
    }
    return mixed;
  }

  test.each([
    ['all', { bridge: 'ours', 'host-local': 'ours', portmap: 'ours' }],
    [
      'host-local, for the bridge of the reference',
      { bridge: 'reference', 'host-local': 'ours', portmap: 'ours' },
    ],
    [
      'bridge, with host-local of the reference',
      { bridge: 'ours', 'host-local': 'reference', portmap: 'ours' },
    ],
  ] as const)('carry traffic and leave nothing: %s', async (_, programs) => {
    const cni = new CniRuntime({
      invoker: new ExecInvoker(),
      binDirs: [directoryOf(programs)],
      cacheDir: bench.path('cache'),
    });
    const list = { ...stressList(bench), cniVersion: '1.0.0' as const };
    const [a, b] = [attachment('a', bench.namespace(), 8080), attachment('b', bench.namespace())];
    const [first, second] = await Promise.all(
      [a, b].map((one) => cni.addNetworkList(list, one, forever)),
    );
    const addresses = [first, second].map((result) => result?.ips[0]?.address.split('/')[0] ?? '');
    expect([...addresses].sort()).toEqual(['10.77.0.2', '10.77.0.3']);
    const server = serveAddress(a.netns, 80);
    expect(await ask(b.netns, addresses[0] ?? '', 80)).toContain(addresses[1]);
    expect(await ask(b.netns, '10.77.0.1', 8080)).not.toBe('');
    server.close();
    await cni.checkNetworkList(list, a, forever);
    await Promise.all([a, b].map((one) => cni.delNetworkList(list, one, forever)));
    expect(leftovers(bench)).toEqual([]);
  });
});
