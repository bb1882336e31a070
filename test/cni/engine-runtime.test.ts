import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NEVER, sleep } from '../../src/base/index.ts';
import {
  type Attachment,
  CniRuntime,
  type CniRuntimeOptions,
  ExecInvoker,
  emptyResult,
  type NetworkList,
  type PluginCall,
  type PluginInvoker,
  parseNetworkList,
} from '../../src/cni/index.ts';
import { failing, ScriptedPlugins } from './scripted-plugins.ts';

let plugins: ScriptedPlugins;

beforeEach(async () => {
  plugins = await ScriptedPlugins.create();
});

afterEach(() => plugins[Symbol.asyncDispose]());

function runtime(changes: Partial<CniRuntimeOptions> = {}): CniRuntime {
  const invoker = new ExecInvoker();
  const cacheDir = plugins.path('cache');
  return new CniRuntime({ invoker, binDirs: [plugins.bin], cacheDir, ...changes });
}

function list(
  version: string,
  types: readonly (string | object)[],
  more: object = {},
): NetworkList {
  const objects = types.map((type) => (typeof type === 'string' ? { type } : type));
  return parseNetworkList({ cniVersion: version, name: 'net', plugins: objects, ...more }, 'it');
}

const attachment: Attachment = {
  containerId: 'c1',
  netns: '/run/netns/c1',
  ifname: 'eth0',
  args: [['K', 'v']],
  capabilityArgs: { mac: 'aa:bb:cc:00:00:01', ips: ['10.0.0.9/8'], aliases: ['x'] },
};

const ADDED = { cniVersion: '1.0.0', ips: [{ address: '10.0.0.2/8' }], dns: {} };

describe('ADD and DEL of a list', () => {
  test('runs forwards with the result of the plugin before, backwards with the whole', async () => {
    const first = { cniVersion: '1.0.0', ips: [{ address: '10.0.0.1/8' }] };
    await plugins.addRecorder('a', { result: first });
    await plugins.addRecorder('b');
    await plugins.addRecorder('c', { result: { ...ADDED, routes: [{ dst: '::/0' }] } });
    const cni = runtime();
    const network = list('1.0.0', ['a', 'b', 'c']);
    const result = await cni.addNetworkList(network, attachment, NEVER);
    expect(result.routes).toEqual([{ dst: '::/0' }]);
    expect(await plugins.input('a', 'ADD')).toEqual({
      cniVersion: '1.0.0',
      name: 'net',
      type: 'a',
    });
    expect((await plugins.input('b', 'ADD'))['prevResult']).toEqual({ ...first, dns: {} });
    expect((await plugins.input('c', 'ADD'))['prevResult']).toEqual(ADDED);
    await cni.delNetworkList(network, attachment, NEVER);
    for (const type of ['a', 'b', 'c']) {
      const { prevResult } = await plugins.input(type, 'DEL');
      expect(prevResult).toEqual({ ...ADDED, routes: [{ dst: '::/0' }] });
    }
    expect(await plugins.calls()).toEqual([
      ...['ADD a c1 eth0', 'ADD b c1 eth0', 'ADD c c1 eth0'],
      ...['DEL c c1 eth0', 'DEL b c1 eth0', 'DEL a c1 eth0'],
    ]);
  });

  test('passes a plugin its own configuration, and the arguments it has the capability for', async () => {
    await plugins.addRecorder('a');
    await plugins.addRecorder('b');
    const own = {
      x: [1, { y: null }],
      args: { cni: { ips: ['10.0.0.3/8'] } },
      ipam: { type: 'z' },
    };
    const capabilities = { mac: true, ips: false, dns: true };
    const b = { type: 'b', capabilities: { dns: true } };
    const network = list('1.0.0', [{ type: 'a', ...own, capabilities }, b]);
    const cni = runtime();
    await cni.addNetworkList(network, attachment, NEVER);
    await cni.delNetworkList(network, attachment, NEVER);
    const base = { cniVersion: '1.0.0', name: 'net' };
    const runtimeConfig = { mac: 'aa:bb:cc:00:00:01' };
    expect(await plugins.input('a', 'ADD')).toEqual({ ...base, type: 'a', ...own, runtimeConfig });
    expect((await plugins.input('a', 'DEL'))['runtimeConfig']).toEqual(runtimeConfig);
    expect(await plugins.input('b', 'ADD')).not.toHaveProperty('runtimeConfig');
  });

  test.each([
    ['0.2.0', { cniVersion: '0.2.0', ip4: { ip: '10.0.0.2/8' }, dns: {} }],
    ['0.4.0', { cniVersion: '0.4.0', ips: [{ version: '4', address: '10.0.0.2/8' }], dns: {} }],
    ['1.1.0', { cniVersion: '1.1.0', ips: [{ address: '10.0.0.2/8' }], dns: {} }],
  ])('speaks version %s with plugins and in the cache', async (version, form) => {
    await plugins.addRecorder('a', { result: form });
    await plugins.addRecorder('b', { result: form });
    const cni = runtime();
    const network = list(version, ['a', 'b']);
    const result = await cni.addNetworkList(network, attachment, NEVER);
    expect(result.ips).toEqual([{ address: '10.0.0.2/8' }]);
    expect((await plugins.input('b', 'ADD'))['prevResult']).toEqual(form);
    const cached = await readFile(plugins.path('cache/results/net-c1-eth0'), 'utf8');
    expect(JSON.parse(cached).result).toEqual(form);
    await cni.delNetworkList(network, attachment, NEVER);
    const { prevResult } = await plugins.input('a', 'DEL');
    expect(prevResult).toEqual(version === '0.2.0' ? undefined : form);
  });

  test('ADD stops at the plugin that fails and caches nothing', async () => {
    await plugins.addRecorder('a');
    await plugins.add('b', failing(100, 'no'));
    await plugins.addRecorder('c');
    const network = list('1.0.0', ['a', 'b', 'c']);
    await expect(runtime().addNetworkList(network, attachment, NEVER)).rejects.toMatchObject({
      cniCode: 100,
      msg: 'no',
    });
    expect(await plugins.calls()).toEqual(['ADD a c1 eth0']);
    expect(await readdir(plugins.path('cache'))).not.toContain('results');
  });

  test('DEL without ADD succeeds, also twice and without a namespace', async () => {
    await plugins.addRecorder('a');
    const cni = runtime();
    const gone = { ...attachment, netns: '' };
    await cni.delNetworkList(list('1.0.0', ['a']), gone, NEVER);
    await cni.delNetworkList(list('1.0.0', ['a']), gone, NEVER);
    expect(await plugins.netns('a', 'DEL')).toBe('');
  });

  test('DEL that fails keeps the cached result for the next try', async () => {
    await plugins.addRecorder('a');
    const cni = runtime();
    const network = list('1.0.0', ['a']);
    await cni.addNetworkList(network, attachment, NEVER);
    await plugins.add('a', failing(11, 'later'));
    await expect(cni.delNetworkList(network, attachment, NEVER)).rejects.toThrow('later');
    await plugins.addRecorder('a');
    await cni.delNetworkList(network, attachment, NEVER);
    expect((await plugins.input('a', 'DEL'))['prevResult']).toEqual(ADDED);
    expect(await readdir(plugins.path('cache/results'))).toEqual([]);
  });

  test('DEL goes on past a plugin that fails, and fails in the end', async () => {
    await plugins.addRecorder('a');
    await plugins.add('b', failing(11, 'stuck'));
    await plugins.addRecorder('c');
    const remove = runtime().delNetworkList(list('1.0.0', ['a', 'b', 'c']), attachment, NEVER);
    await expect(remove).rejects.toThrow('stuck');
    expect(await plugins.calls()).toEqual(['DEL c c1 eth0', 'DEL a c1 eth0']);
  });

  test.each<[string, Partial<Attachment>]>([
    ['CNI_CONTAINERID', { containerId: '../etc' }],
    ['CNI_CONTAINERID', { containerId: '' }],
    ['CNI_IFNAME', { ifname: 'far-too-long-for-linux' }],
    ['CNI_IFNAME', { ifname: 'a/b' }],
    ['CNI_ARGS', { args: [['A', 'x;IP=10.0.0.1']] }],
    ['CNI_NETNS', { netns: '/a\0b' }],
    ['too long together', { containerId: 'c'.repeat(250) }],
  ])('refuses a bad %s before any plugin runs', async (message, changes) => {
    await plugins.addRecorder('a');
    const bad = { ...attachment, ...changes };
    await expect(runtime().addNetworkList(list('1.0.0', ['a']), bad, NEVER)).rejects.toThrow(
      message,
    );
    expect(await plugins.calls()).toEqual([]);
  });

  test('a single plugin is a network too', async () => {
    await plugins.addRecorder('a');
    const cni = runtime();
    const config = { cniVersion: '1.0.0', name: 'one', type: 'a' };
    await cni.addNetwork(config, attachment, NEVER);
    await cni.checkNetwork(config, attachment, NEVER);
    await cni.delNetwork(config, attachment, NEVER);
    expect(await plugins.calls()).toEqual(['ADD a c1 eth0', 'CHECK a c1 eth0', 'DEL a c1 eth0']);
  });

  test('a plugin that hangs is ended', async () => {
    await plugins.add('a', 'sleep 1000');
    const cni = runtime({ pluginTimeout: 50 });
    await expect(cni.addNetworkList(list('1.0.0', ['a']), attachment, NEVER)).rejects.toMatchObject(
      {
        code: 'DEADLINE_EXCEEDED',
        message: 'CNI plugin "a" hangs in ADD: no answer within 0.05 s',
      },
    );
  });
});

describe('the result cache', () => {
  test('has the form and place of libcni', async () => {
    await plugins.addRecorder('a');
    const network = list('1.0.0', ['a']);
    await runtime().addNetworkList(network, attachment, NEVER);
    const path = plugins.path('cache/results/net-c1-eth0');
    const { config, ...rest } = JSON.parse(await readFile(path, 'utf8'));
    expect(rest).toEqual({
      kind: 'cniCacheV1',
      containerId: 'c1',
      ifName: 'eth0',
      networkName: 'net',
      netns: '/run/netns/c1',
      cniArgs: [['K', 'v']],
      capabilityArgs: attachment.capabilityArgs,
      result: ADDED,
    });
    const json = JSON.parse(Buffer.from(config, 'base64').toString());
    expect(parseNetworkList(json, 'it')).toEqual(network);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(plugins.path('cache/results'))).mode & 0o777).toBe(0o700);
  });

  test('reads the bare result that old versions of libcni wrote', async () => {
    await plugins.addRecorder('a');
    await mkdir(plugins.path('cache/results'), { recursive: true });
    await writeFile(plugins.path('cache/results/net-c1-eth0'), JSON.stringify(ADDED));
    await runtime().delNetworkList(list('1.0.0', ['a']), attachment, NEVER);
    expect((await plugins.input('a', 'DEL'))['prevResult']).toEqual(ADDED);
  });

  test.each(['', '{', '[]', '{"kind":"cniCacheV1"}', '{"ips":[{"address":7}]}'])(
    'that holds %j makes CHECK fail, but not DEL',
    async (content) => {
      await plugins.addRecorder('a');
      await mkdir(plugins.path('cache/results'), { recursive: true });
      await writeFile(plugins.path('cache/results/net-c1-eth0'), content);
      const check = runtime().checkNetworkList(list('1.0.0', ['a']), attachment, NEVER);
      await expect(check).rejects.toThrow(/^Cached result ".*net-c1-eth0"/);
      expect(await plugins.calls()).toEqual([]);
      await runtime().delNetworkList(list('1.0.0', ['a']), attachment, NEVER);
      expect((await plugins.input('a', 'DEL'))['prevResult']).toBeUndefined();
      expect(await readdir(plugins.path('cache/results'))).toEqual([]);
    },
  );
});

describe('CHECK', () => {
  test('runs forwards with the cached result', async () => {
    await plugins.addRecorder('a');
    await plugins.addRecorder('b');
    const cni = runtime();
    const network = list('0.4.0', ['a', 'b']);
    await cni.addNetworkList(network, attachment, NEVER);
    await plugins.forgetCalls();
    await cni.checkNetworkList(network, attachment, NEVER);
    expect(await plugins.calls()).toEqual(['CHECK a c1 eth0', 'CHECK b c1 eth0']);
    expect((await plugins.input('a', 'CHECK'))['prevResult']).toMatchObject({
      cniVersion: '0.4.0',
    });
  });

  test('stops at the plugin that fails', async () => {
    await plugins.add('a', failing(101, 'interface gone'));
    await plugins.addRecorder('b');
    const network = list('1.0.0', ['a', 'b']);
    await expect(runtime().checkNetworkList(network, attachment, NEVER)).rejects.toThrow(
      'interface gone',
    );
    expect(await plugins.calls()).toEqual([]);
  });

  test('is off with disableCheck, and fails before 0.4.0', async () => {
    await plugins.addRecorder('a');
    const cni = runtime();
    await cni.checkNetworkList(list('1.0.0', ['a'], { disableCheck: true }), attachment, NEVER);
    await expect(
      cni.checkNetworkList(list('0.3.1', ['a']), attachment, NEVER),
    ).rejects.toMatchObject({ cniCode: 1 });
    expect(await plugins.calls()).toEqual([]);
  });
});

describe('STATUS', () => {
  test('stops at the first plugin that is not ready', async () => {
    await plugins.addRecorder('a');
    await plugins.add('b', failing(50, 'starting'));
    await plugins.addRecorder('c');
    await expect(
      runtime().statusNetworkList(list('1.1.0', ['a', 'b', 'c']), NEVER),
    ).rejects.toMatchObject({ cniCode: 50, code: 'UNAVAILABLE' });
    expect(await plugins.calls()).toEqual(['STATUS a']);
    expect(await plugins.input('a', 'STATUS')).toEqual({
      cniVersion: '1.1.0',
      name: 'net',
      type: 'a',
    });
  });

  test('is not asked before 1.1.0', async () => {
    await runtime().statusNetworkList(list('1.0.0', ['missing']), NEVER);
  });
});

describe('GC', () => {
  const other = { ...attachment, containerId: 'c2' };

  test('deletes what is not valid, of this network only, and tells all plugins', async () => {
    await plugins.addRecorder('a', { result: { ...ADDED, cniVersion: '1.1.0' } });
    await plugins.addRecorder('b');
    const cni = runtime();
    const network = list('1.1.0', ['a', 'b']);
    const second = list('1.1.0', ['a'], { name: 'net2' });
    await cni.addNetworkList(network, attachment, NEVER);
    await cni.addNetworkList(network, other, NEVER);
    await cni.addNetworkList(second, attachment, NEVER);
    await plugins.forgetCalls();
    const valid = [{ containerID: 'c2', ifname: 'eth0' }];
    await cni.gcNetworkList(network, valid, NEVER);
    expect(await plugins.calls()).toEqual(['DEL b c1 eth0', 'DEL a c1 eth0', 'GC a', 'GC b']);
    expect(await plugins.input('b', 'GC')).toEqual({
      cniVersion: '1.1.0',
      name: 'net',
      type: 'b',
      'cni.dev/valid-attachments': valid,
      'cni.dev/attachments': valid,
    });
    const left = await readdir(plugins.path('cache/results'));
    expect(left.sort()).toEqual(['net-c2-eth0', 'net2-c1-eth0']);
  });

  test('goes on past plugins that fail, and says so in the end', async () => {
    await plugins.add('a', failing(100, 'first'));
    await plugins.addRecorder('b');
    await plugins.add('c', failing(101, 'third'));
    const gc = runtime().gcNetworkList(list('1.1.0', ['a', 'b', 'c']), [], NEVER);
    await expect(gc).rejects.toThrow(/Cannot collect garbage of network "net".*first; third/);
    expect(await plugins.calls()).toEqual(['GC b']);
  });

  test('is off with disableGC, and asks no plugin before 1.1.0', async () => {
    await plugins.addRecorder('a');
    const cni = runtime();
    const disabled = list('1.1.0', ['a'], { disableGC: true });
    await cni.addNetworkList(disabled, attachment, NEVER);
    await plugins.forgetCalls();
    await cni.gcNetworkList(disabled, [], NEVER);
    expect(await plugins.calls()).toEqual([]);
    await cni.gcNetworkList(list('1.0.0', ['a']), [], NEVER);
    expect(await plugins.calls()).toEqual(['DEL a c1 eth0']);
  });
});

describe('VERSION', () => {
  test('finds the plugin that does not speak the version of the list', async () => {
    const versions = (...all: string[]) => `echo '${JSON.stringify({ supportedVersions: all })}'`;
    await plugins.add('a', versions('0.4.0', '1.0.0'));
    await plugins.add('b', versions('0.4.0'));
    const cni = runtime();
    await cni.validateNetworkList(list('0.4.0', ['a', 'b']), NEVER);
    await expect(cni.validateNetworkList(list('1.0.0', ['a', 'b']), NEVER)).rejects.toThrow(
      /plugin "b" does not speak CNI version 1\.0\.0, only 0\.4\.0/,
    );
  });
});

describe('operations at the same time', () => {
  /** A plugin whose calls end when told. */
  class Gate implements PluginInvoker {
    readonly running = new Map<string, () => void>();
    readonly begun: string[] = [];

    async invoke(_: string, call: PluginCall) {
      const name = `${call.command} ${call.containerId}`;
      this.begun.push(name);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.running.set(name, resolve);
      await promise;
      this.running.delete(name);
      return emptyResult();
    }

    async find() {
      return 'builtin';
    }

    async versions() {
      return [];
    }

    async end(name: string): Promise<void> {
      await expect.poll(() => this.running.has(name)).toBe(true);
      this.running.get(name)?.();
    }
  }

  test('wait for each other on one container, not on different ones', async () => {
    const gate = new Gate();
    const cni = runtime({ invoker: gate });
    const network = list('1.0.0', ['a']);
    const add = cni.addNetworkList(network, attachment, NEVER);
    const del = cni.delNetworkList(network, { ...attachment, ifname: 'eth1' }, NEVER);
    const other = cni.addNetworkList(network, { ...attachment, containerId: 'c2' }, NEVER);
    await gate.end('ADD c2');
    await other;
    expect(gate.begun).not.toContain('DEL c1');
    await gate.end('ADD c1');
    await gate.end('DEL c1');
    await Promise.all([add, del]);
  });

  test('wait for GC, which waits for them, also in another process', async () => {
    const gate = new Gate();
    const network = list('1.1.0', ['a']);
    const add = runtime({ invoker: gate }).addNetworkList(network, attachment, NEVER);
    await expect.poll(() => gate.begun).toEqual(['ADD c1']);
    const collector = runtime({ invoker: gate });
    const valid = [{ containerID: 'c1', ifname: 'eth0' }];
    const gc = collector.gcNetworkList(network, valid, NEVER);
    await gate.end('ADD c1');
    await add;
    await expect.poll(() => gate.begun).toEqual(['ADD c1', 'GC ']);
    const del = runtime({ invoker: gate }).delNetworkList(network, attachment, NEVER);
    await sleep(30);
    expect(gate.begun).not.toContain('DEL c1');
    await gate.end('GC ');
    await gc;
    await gate.end('DEL c1');
    await del;
  });

  test('give up waiting when told', async () => {
    const gate = new Gate();
    const cni = runtime({ invoker: gate });
    const network = list('1.1.0', ['a']);
    const add = cni.addNetworkList(network, attachment, NEVER);
    await expect.poll(() => gate.begun).toEqual(['ADD c1']);
    const signal = AbortSignal.timeout(20);
    await expect(cni.delNetworkList(network, attachment, signal)).rejects.toThrow();
    await expect(cni.gcNetworkList(network, [], AbortSignal.timeout(20))).rejects.toThrow();
    await gate.end('ADD c1');
    await add;
    expect(gate.begun).toEqual(['ADD c1']);
  });
});
