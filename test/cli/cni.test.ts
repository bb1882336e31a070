import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cniTool } from '../../src/cni-tool.ts';
import { Bench, clearOwnHost, enterOwnHost, inside, REFERENCE } from '../cni/plugin-harness.ts';
import { leftovers, stressNetwork } from '../cni/stress-host.ts';
import { keelson } from './fake-cri.ts';

let bench: Bench;
let env: Record<string, string>;

beforeAll(enterOwnHost);

beforeEach(() => {
  bench = new Bench();
  writeFileSync(join(bench.path('conf'), '10.conflist'), JSON.stringify(stressNetwork(bench)));
  env = {
    NETCONFPATH: bench.path('conf'),
    KEELSON_CNI_CACHE_DIR: bench.path('cache'),
    KEELSON_CNI_OVERRIDE_DIR: bench.path('override'),
    CNI_PATH: bench.path('empty'),
  };
});

afterEach(async () => {
  await bench.close();
  clearOwnHost();
});

const cni = (...args: string[]) =>
  keelson(['cni', ...args], { env, cniTool: async (settings) => cniTool(settings) });

const addresses = (netns: string) => inside(netns, 'ip', '-br', 'address');

describe('add, check and del', () => {
  it('work like cnitool, by its variables', async () => {
    const netns = bench.namespace();
    env = {
      ...env,
      CNI_IFNAME: 'net7',
      CNI_ARGS: 'IgnoreUnknown=1;A=b',
      CAP_ARGS: '{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}',
    };
    const { code, stdout } = await cni('add', 'stress', netns);
    expect(code).toBe(0);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({ cniVersion: '1.1.0', ips: [{ address: '10.77.0.2/16' }] });
    expect(result.interfaces[2]).toMatchObject({ name: 'net7', sandbox: netns });
    expect(addresses(netns)).toContain('10.77.0.2/16');
    expect(inside(undefined, 'nft', 'list', 'ruleset')).toContain('8080');
    // cnitool names containers so: one can undo what the other did.
    expect(readdirSync(bench.path('cache/results'))[0]).toMatch(
      /^stress-cnitool-[0-9a-f]{20}-net7$/,
    );
    expect(await cni('check', 'stress', netns)).toEqual({ code: 0, stdout: '', stderr: '' });
    inside(netns, 'ip', 'address', 'flush', 'dev', 'net7');
    expect(await cni('check', 'stress', netns)).toMatchObject({ code: 1, stdout: '' });
    for (let time = 0; time < 2; time++) {
      expect(await cni('del', 'stress', netns)).toEqual({ code: 0, stdout: '', stderr: '' });
    }
    expect(leftovers(bench)).toEqual([]);
  });

  it('remember what add was told', async () => {
    const netns = bench.namespace();
    const ports = '{"portMappings":[{"hostPort":8081,"containerPort":80,"protocol":"tcp"}]}';
    expect(await cni('add', 'stress', netns, '--cap-args', ports)).toMatchObject({ code: 0 });
    expect(await cni('check', 'stress', netns)).toMatchObject({ code: 0 });
    expect(await cni('del', 'stress', netns)).toMatchObject({ code: 0 });
    expect(leftovers(bench)).toEqual([]);
    expect(inside(undefined, 'nft', 'list', 'ruleset')).not.toContain('8081');
  });

  it('take flags over variables', async () => {
    const netns = bench.namespace();
    env = { ...env, CNI_IFNAME: 'wrong', CNI_ARGS: 'bogus', CAP_ARGS: 'bogus' };
    const flags = [
      '--ifname',
      'right',
      '--container-id',
      'c1',
      '--args',
      'IgnoreUnknown=1;A=b',
      '--cap-args',
      '{}',
    ];
    expect(await cni('add', 'stress', netns, ...flags)).toMatchObject({ code: 0 });
    expect(readdirSync(bench.path('cache/results'))).toEqual(['stress-c1-right']);
    expect(await cni('del', 'stress', netns, ...flags)).toMatchObject({ code: 0 });
    expect(leftovers(bench)).toEqual([]);
  });

  it('run the programs of CNI_PATH if that is preferred', async () => {
    const netns = bench.namespace();
    const network = { ...stressNetwork(bench), cniVersion: '1.0.0' };
    writeFileSync(join(bench.path('conf'), '10.conflist'), JSON.stringify(network));
    const flags = ['--prefer', 'exec', '--bin-dir', REFERENCE];
    expect(await cni('add', 'stress', netns, ...flags)).toMatchObject({ code: 0 });
    expect(inside(undefined, 'iptables-save', '-t', 'nat')).toContain('name: \\"stress\\"');
    expect(await cni('del', 'stress', netns, ...flags)).toMatchObject({ code: 0 });
    expect(leftovers(bench)).toEqual([]);
  });

  it('refuse a second add and leave the first alone', async () => {
    const netns = bench.namespace();
    await cni('add', 'stress', netns);
    const { code, stderr } = await cni('add', 'stress', netns);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^keelson: cannot add "eth0": container "cnitool-.*" is attached to/);
    expect(await cni('check', 'stress', netns)).toMatchObject({ code: 0 });
    await cni('del', 'stress', netns);
  });

  it('leave an interface alone that somebody else has made', async () => {
    const netns = bench.namespace();
    inside(netns, 'ip', 'link', 'add', 'eth0', 'type', 'bridge');
    expect(await cni('add', 'stress', netns)).toMatchObject({ code: 1 });
    expect(addresses(netns)).toContain('eth0');
    expect(leftovers(bench)).toEqual([]);
  });

  it('undo an add that failed half way', async () => {
    const network = stressNetwork(bench);
    // There is no such sysctl, which shows only when the plugin runs.
    const sysctl = { 'net.ipv4.absent0': '1' };
    const plugins = [...network.plugins, { type: 'tuning', sysctl }];
    writeFileSync(join(bench.path('conf'), '10.conflist'), JSON.stringify({ ...network, plugins }));
    const netns = bench.namespace();
    const { code, stderr } = await cni('add', 'stress', netns);
    expect(code).toBe(1);
    expect(stderr).toContain('absent0');
    expect(addresses(netns)).not.toContain('eth0');
    expect(leftovers(bench)).toEqual([]);
  });

  it('do nothing at all if a plugin is missing', async () => {
    const network = stressNetwork(bench);
    const plugins = [...network.plugins, { type: 'nosuch' }];
    writeFileSync(join(bench.path('conf'), '10.conflist'), JSON.stringify({ ...network, plugins }));
    const { stderr } = await cni('add', 'stress', bench.namespace());
    expect(stderr).toContain('cannot find CNI plugin "nosuch"');
    expect(leftovers(bench)).toEqual([]);
    expect(inside(undefined, 'ip', 'link')).not.toContain('stress0');
  });

  it.each([
    [3, ['add', 'nonet', '/x']],
    [2, ['add', 'stress']],
    [2, ['add', 'stress', '/x', '--args', 'novalue']],
    [2, ['add', 'stress', '/x', '--cap-args', '[]']],
    [2, ['add', 'stress', '/x', '--ifname', 'interface-too-long']],
    [2, ['add', 'stress', '/x', '--container-id', '../x']],
    [2, ['add', 'stress', '/x', '--prefer', 'other']],
    [2, ['add', 'stress', '/absent']],
    [3, ['status', 'nonet']],
    [2, ['bogus']],
  ])('end with %i for %j', async (code, args) => {
    const ended = await cni(...args);
    expect(ended).toMatchObject({ code, stdout: '' });
    expect(ended.stderr).not.toBe('');
    expect(leftovers(bench)).toEqual([]);
  });
});

describe('networks', () => {
  it('are listed, with what is wrong', async () => {
    writeFileSync(join(bench.path('conf'), '20.conf'), '{"name":"single","type":"ptp"}');
    expect(await cni('list')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(
        /^NETWORK .*\nstress +1.1.0 +bridge,portmap .*\nsingle +0.1.0 +ptp/,
      ),
    });
    writeFileSync(join(bench.path('conf'), '30.conf'), '{"name":');
    const { code, stdout, stderr } = await cni('list', '-o', 'json');
    expect(code).toBe(2);
    expect(stderr).toContain('30.conf');
    expect(JSON.parse(stdout).networks.map(({ name }: { name: string }) => name)).toEqual([
      ...['stress', 'single', ''],
    ]);
  });

  it('of a list go before those of other files that have the name', async () => {
    writeFileSync(join(bench.path('conf'), '05.conf'), '{"name":"stress","type":"nosuch"}');
    expect((await cni('version', 'stress')).stdout).toContain('portmap');
    rmSync(join(bench.path('conf'), '10.conflist'));
    expect((await cni('version', 'stress')).stderr).toContain('nosuch');
  });

  it('of the daemon itself count while there is no file', async () => {
    const flags = ['--conf-dir', '/absent'];
    expect((await cni('list', ...flags)).stdout).not.toContain('keelson');
    env = { ...env, KEELSON_CNI_DEFAULT_NETWORK: 'true' };
    expect((await cni('list', ...flags)).stdout).toMatch(
      /keelson +1.0.0 +bridge,portmap +\(embedded\)/,
    );
    expect(await cni('status', 'keelson', ...flags)).toMatchObject({ code: 0 });
  });

  it('tell the versions of their plugins, and whether they are ready', async () => {
    const { stdout } = await cni('version', 'stress', '-o', 'json');
    expect(JSON.parse(stdout).plugins[0]).toMatchObject({
      ...{ type: 'bridge', program: 'builtin', versions: expect.arrayContaining(['1.1.0']) },
    });
    expect(await cni('status', 'stress')).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  it('are cleaned of attachments whose namespace is gone', async () => {
    const [kept, gone] = [bench.namespace(), bench.namespace()];
    await cni('add', 'stress', kept);
    await cni('add', 'stress', gone);
    await bench.forget(gone);
    expect(await cni('gc', 'stress')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(readdirSync(bench.path('ipam/stress')).filter((name) => /^10\./.test(name))).toEqual([
      '10.77.0.2',
    ]);
    expect(await cni('check', 'stress', kept)).toMatchObject({ code: 0 });
    await cni('del', 'stress', kept);
    await expect.poll(() => leftovers(bench), { timeout: 10_000 }).toEqual([]);
  });
});

describe('install', () => {
  it('writes launchers, refuses what is not its own, and uninstalls', async () => {
    const directory = join(bench.directory, 'bin');
    const { code, stdout } = await cni('install', directory);
    expect(code).toBe(0);
    expect(stdout).toContain(`${directory}/bridge\n`);
    expect((await cni('uninstall', directory)).stdout).toBe(stdout);
    expect(readdirSync(directory)).toEqual([]);
    writeFileSync(join(directory, 'bridge'), 'mine');
    expect(await cni('install', directory)).toMatchObject({ code: 1, stdout: '' });
    expect(await cni('install', directory, '--force')).toMatchObject({ code: 0, stdout });
  });

  it('refuses the directory whose programs replace built-in plugins', async () => {
    mkdirSync(bench.path('override'), { recursive: true });
    expect(await cni('install', bench.path('override'))).toMatchObject({ code: 2 });
    expect(readdirSync(bench.path('override'))).toEqual([]);
  });
});
