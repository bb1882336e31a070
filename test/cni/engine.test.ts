import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Logger, NEVER, SILENT } from '../../src/base/index.ts';
import {
  CniEngine,
  type CniEngineOptions,
  ExecInvoker,
  type PodAttachment,
} from '../../src/cni/index.ts';
import { createPinnedNamespace, removePinnedNamespace } from '../../src/linux/index.ts';
import { waitFor } from '../harness/wait-for.ts';
import { failing, ScriptedPlugins } from './scripted-plugins.ts';

let plugins: ScriptedPlugins;
let engines: CniEngine[];

beforeEach(async () => {
  plugins = await ScriptedPlugins.create();
  engines = [];
  await mkdir(plugins.path('conf'));
});

afterEach(async () => {
  for (const engine of engines) await engine[Symbol.asyncDispose]();
  await plugins[Symbol.asyncDispose]();
});

async function openEngine(changes: Partial<CniEngineOptions> = {}): Promise<CniEngine> {
  const engine = await CniEngine.open({
    confDir: plugins.path('conf'),
    binDirs: [plugins.bin],
    cacheDir: plugins.path('cache'),
    stateDir: plugins.path('state'),
    logger: SILENT,
    invoker: new ExecInvoker(),
    ...changes,
  });
  engines.push(engine);
  return engine;
}

async function configure(file: string, name: string, types: readonly string[], more: object = {}) {
  const json = { cniVersion: '1.0.0', name, plugins: types.map((type) => ({ type })), ...more };
  const path = plugins.path('conf', file);
  await writeFile(`${path}.new`, JSON.stringify(json));
  await rename(`${path}.new`, path);
}

/** Ids that no other test file has: an engine that starts kills plugins that work for its own. */
function pod(id = 'e1', changes: Partial<PodAttachment> = {}): PodAttachment {
  return {
    containerId: id,
    netns: '',
    podName: 'web',
    podNamespace: 'shop',
    podUid: 'u-1',
    portMappings: [],
    ...changes,
  };
}

async function records(): Promise<string[]> {
  return readdir(plugins.path('state/attachments')).catch(() => []);
}

/** A logger that keeps its warnings and errors. */
function listener(): { logger: Logger; lines: string[] } {
  const lines: string[] = [];
  const keep = (_: object, message: string) => void lines.push(message);
  const logger: Logger = { ...SILENT, warn: keep, error: keep, child: () => logger };
  return { logger, lines };
}

describe('readiness', () => {
  test('waits for a configuration, even for its directory and those above', async () => {
    await plugins.addRecorder('a');
    const engine = await openEngine({ confDir: plugins.path('etc/cni/net.d') });
    expect(await engine.status(NEVER)).toEqual({
      ready: false,
      reason: 'NetworkPluginNotReady',
      message: `There is no network configuration in "${plugins.path('etc/cni/net.d')}"`,
    });
    await expect(engine.attach(pod(), NEVER)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await mkdir(plugins.path('etc'));
    await mkdir(plugins.path('etc/cni'));
    await configure('x', 'net', ['a']);
    await mkdir(plugins.path('etc/cni/net.d'));
    await rename(plugins.path('conf/x'), plugins.path('etc/cni/net.d/10-net.conflist'));
    await waitFor('readiness', async () => (await engine.status(NEVER)).ready);
    await rm(plugins.path('etc'), { recursive: true });
    await waitFor('no readiness', async () => !(await engine.status(NEVER)).ready);
    await mkdir(plugins.path('etc/cni/net.d'), { recursive: true });
    await configure('x', 'net', ['a']);
    await rename(plugins.path('conf/x'), plugins.path('etc/cni/net.d/10-net.conflist'));
    await waitFor('readiness again', async () => (await engine.status(NEVER)).ready);
  });

  test('takes the first valid configuration, and tells why there is none', async () => {
    await plugins.addRecorder('a');
    await writeFile(plugins.path('conf/05-broken.conflist'), '{"name":');
    await writeFile(plugins.path('conf/99-ignored.txt'), '{}');
    const { logger, lines } = listener();
    const engine = await openEngine({ logger });
    const status = await engine.status(NEVER);
    expect(status).toMatchObject({ message: expect.stringMatching(/05-broken\.conflist": /) });
    await configure('20-second.conflist', 'second', ['a']);
    await configure('10-first.conf', 'first', ['a']);
    await waitFor('readiness', async () => (await engine.status(NEVER)).ready);
    expect(lines.join('\n')).toContain('05-broken.conflist');
    await waitFor('the first to be chosen', async () => {
      const id = `c${Math.random()}`;
      await engine.attach(pod(id), NEVER);
      return (await readdir(plugins.path('cache/results'))).includes(`first-${id}-eth0`);
    });
  });

  test('loads plugins from files of their own, and sees them change', async () => {
    await plugins.addRecorder('a');
    await plugins.addRecorder('b');
    await configure('10.conflist', 'net', ['a']);
    await mkdir(plugins.path('conf/net'));
    const engine = await openEngine();
    await writeFile(plugins.path('conf/net/b.conf'), JSON.stringify({ type: 'missing' }));
    await waitFor('the file to be seen', async () => !(await engine.status(NEVER)).ready);
    await writeFile(plugins.path('conf/net/b.conf'), JSON.stringify({ type: 'b' }));
    await waitFor('its change to be seen', async () => (await engine.status(NEVER)).ready);
    await engine.attach(pod(), NEVER);
    expect(await plugins.calls()).toEqual(['ADD a e1 eth0', 'ADD b e1 eth0']);
  });

  test('needs all plugins, and what they say of themselves', async () => {
    await configure('10.conflist', 'net', ['a'], { cniVersion: '1.1.0' });
    const engine = await openEngine();
    expect(await engine.status(NEVER)).toMatchObject({
      message: 'Network "net": CNI plugin "a" is not installed',
    });
    await plugins.add('a', failing(50, 'still starting'));
    const second = await openEngine();
    expect(await second.status(NEVER)).toMatchObject({ message: 'Network "net": still starting' });
    await plugins.addRecorder('a');
    const third = await openEngine();
    expect(await Promise.all([third.status(NEVER), third.status(NEVER)])).toEqual([
      { ready: true },
      { ready: true },
    ]);
    expect(await third.status(NEVER)).toEqual({ ready: true });
    expect(await plugins.calls()).toEqual(['STATUS a']);
  });

  test('an embedded network serves until there is a file', async () => {
    await plugins.addRecorder('a');
    const defaultNetwork = { cniVersion: '1.0.0', name: 'own', plugins: [{ type: 'a' }] };
    const engine = await openEngine({ defaultNetwork });
    expect(await engine.status(NEVER)).toEqual({ ready: true });
    await engine.attach(pod(), NEVER);
    expect(await readdir(plugins.path('conf'))).toEqual([]);
    await engine.setDefaultNetwork({ ...defaultNetwork, name: 'other' });
    await engine.attach(pod('e2'), NEVER);
    await writeFile(plugins.path('conf/10.conflist'), 'broken');
    await waitFor('the file to be seen', async () => !(await engine.status(NEVER)).ready);
    expect((await readdir(plugins.path('cache/results'))).sort()).toEqual([
      'other-e2-eth0',
      'own-e1-eth0',
    ]);
    await engine.detach(pod(), NEVER);
    expect(await readdir(plugins.path('cache/results'))).toEqual(['other-e2-eth0']);
  });
});

describe('attach', () => {
  test('tells plugins what Kubernetes runtimes tell them', async () => {
    await plugins.addRecorder('a', { before: `printf '%s' "$CNI_ARGS" > ${plugins.path('args')}` });
    const capabilities = {
      ...{ portMappings: true, bandwidth: true, dns: true, cgroupPath: true },
      'io.kubernetes.cri.pod-annotations': true,
    };
    const json = { cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'a', capabilities }] };
    await writeFile(plugins.path('conf/10.conflist'), JSON.stringify(json));
    const engine = await openEngine();
    const annotations = { 'kubernetes.io/ingress-bandwidth': '10M', note: 'x' };
    const dns = { servers: ['10.0.0.1'], searches: ['a.b'], options: [] };
    const network = await engine.attach(
      pod('e1', {
        portMappings: [
          { hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIP: '' },
          { hostPort: 0, containerPort: 81, protocol: 'udp' },
        ],
        ...{ annotations, dns, cgroupPath: '/kubepods/x' },
      }),
      NEVER,
    );
    expect(network.ips).toEqual(['10.0.0.2']);
    expect(await readFile(plugins.path('args'), 'utf8')).toBe(
      'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=e1;K8S_POD_UID=u-1',
    );
    expect((await plugins.input('a', 'ADD'))['runtimeConfig']).toEqual({
      portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
      bandwidth: { ingressRate: 10_000_000, ingressBurst: 4294967295 },
      dns,
      cgroupPath: '/kubepods/x',
      'io.kubernetes.cri.pod-annotations': annotations,
    });
  });

  test('warns of host ports that no plugin maps', async () => {
    await plugins.addRecorder('a');
    await configure('10.conflist', 'net', ['a']);
    const { logger, lines } = listener();
    const engine = await openEngine({ logger });
    const portMappings = [{ hostPort: 80, containerPort: 80, protocol: 'tcp' as const }];
    await engine.attach(pod('e1', { portMappings }), NEVER);
    expect(lines.join()).toMatch(/asks for host ports/);
  });

  test('adds several networks in order, and undoes them in reverse', async () => {
    const result = {
      cniVersion: '1.0.0',
      ips: [{ address: 'fd00::7/64' }, { address: '10.0.0.7/8' }],
    };
    await plugins.addRecorder('a', { result });
    await plugins.addRecorder('b');
    await configure('1.conflist', 'one', ['a']);
    await configure('2.conflist', 'two', ['b']);
    await configure('3.conflist', 'three', ['b']);
    const engine = await openEngine({ maxNetworks: 2 });
    const network = await engine.attach(pod(), NEVER);
    expect(network.ips).toEqual(['10.0.0.7', 'fd00::7']);
    expect(network.results).toHaveLength(2);
    await engine.check(pod(), NEVER);
    await engine.detach(pod(), NEVER);
    expect(await plugins.calls()).toEqual([
      ...['ADD a e1 eth0', 'ADD b e1 eth1', 'CHECK a e1 eth0', 'CHECK b e1 eth1'],
      ...['DEL b e1 eth1', 'DEL a e1 eth0'],
    ]);
    expect(await records()).toEqual([]);
    await expect(engine.check(pod(), NEVER)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('that fails half-way undoes all of it', async () => {
    await plugins.addRecorder('a');
    await plugins.addRecorder('b', {
      before: `[ $CNI_COMMAND = DEL ] || { ${failing(100, 'no room')}; }`,
    });
    await configure('1.conflist', 'one', ['a']);
    await configure('2.conflist', 'two', ['a', 'b']);
    const engine = await openEngine({ maxNetworks: 2 });
    await expect(engine.attach(pod(), NEVER)).rejects.toThrow(
      'Cannot attach pod "shop/web": Cannot add "eth1" on network "two": no room',
    );
    expect(await plugins.calls()).toEqual([
      ...['ADD a e1 eth0', 'ADD a e1 eth1', 'ADD b e1 eth1'],
      ...['DEL b e1 eth1', 'DEL a e1 eth1', 'DEL a e1 eth0'],
    ]);
    expect(await records()).toEqual([]);
    expect(await readdir(plugins.path('cache/results'))).toEqual([]);
  });

  test('whose plugin is not installed is refused before anything is done', async () => {
    await plugins.addRecorder('a');
    await configure('1.conflist', 'one', ['a', 'absent']);
    const engine = await openEngine();
    await expect(engine.attach(pod(), NEVER)).rejects.toThrow(
      'CNI plugin "absent" is not installed',
    );
    expect(await plugins.calls()).toEqual([]);
    expect(await records()).toEqual([]);
  });

  test('that is given up is undone, though the caller is gone', async () => {
    await plugins.addRecorder('a', { before: '[ $CNI_COMMAND = DEL ] || sleep 1000' });
    await configure('1.conflist', 'one', ['a']);
    const engine = await openEngine();
    const abort = new AbortController();
    const attached = engine.attach(pod(), abort.signal);
    attached.catch(() => {});
    await waitFor('the plugin to run', async () => (await plugins.calls()).length > 0);
    abort.abort(new Error('the caller went away'));
    await expect(attached).rejects.toThrow('the caller went away');
    expect(await plugins.calls()).toEqual(['ADD a e1 eth0', 'DEL a e1 eth0']);
    expect(await records()).toEqual([]);
  });

  test('of an attached pod is refused', async () => {
    await plugins.addRecorder('a');
    await configure('1.conflist', 'one', ['a']);
    const engine = await openEngine();
    const both = await Promise.allSettled([
      engine.attach(pod(), NEVER),
      engine.attach(pod(), NEVER),
    ]);
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    await expect(engine.attach(pod(), NEVER)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    expect(await plugins.calls()).toEqual(['ADD a e1 eth0']);
  });

  test.each<[string, Partial<PodAttachment>]>([
    ['INVALID_ARGUMENT', { podName: 'a;IP=10.0.0.1' }],
    ['INVALID_ARGUMENT', { containerId: '../../etc/passwd' }],
    [
      'INVALID_ARGUMENT',
      { portMappings: [{ hostPort: 65536, containerPort: 1, protocol: 'tcp' }] },
    ],
    ['INVALID_ARGUMENT', { portMappings: [{ hostPort: 1, containerPort: 0, protocol: 'tcp' }] }],
    ['INVALID_ARGUMENT', { annotations: { 'kubernetes.io/egress-bandwidth': 'much' } }],
    ['INVALID_ARGUMENT', { annotations: { 'kubernetes.io/egress-bandwidth': '1' } }],
  ])('refuses with %s what no plugin should see: %j', async (code, changes) => {
    await plugins.addRecorder('a');
    await configure('1.conflist', 'one', ['a']);
    const engine = await openEngine();
    await expect(engine.attach(pod('e1', changes), NEVER)).rejects.toMatchObject({ code });
    expect(await plugins.calls()).toEqual([]);
    expect(await records()).toEqual([]);
  });
});

describe('detach', () => {
  test('of a pod that is not attached does nothing', async () => {
    await plugins.addRecorder('a');
    await configure('1.conflist', 'one', ['a']);
    const engine = await openEngine();
    await engine.detach(pod(), NEVER);
    expect(await plugins.calls()).toEqual([]);
  });

  test('tries all networks, and the next time those that failed', async () => {
    await plugins.addRecorder('a');
    await plugins.addRecorder('b');
    await configure('1.conflist', 'one', ['a']);
    await configure('2.conflist', 'two', ['b']);
    const engine = await openEngine({ maxNetworks: 2 });
    await engine.attach(pod(), NEVER);
    await plugins.add('b', failing(11, 'busy'));
    await plugins.forgetCalls();
    await expect(engine.detach(pod(), NEVER)).rejects.toThrow(
      /Cannot detach pod "shop\/web".*busy/,
    );
    expect(await plugins.calls()).toEqual(['DEL a e1 eth0']);
    await plugins.addRecorder('b');
    await plugins.forgetCalls();
    await engine.detach(pod(), NEVER);
    expect(await plugins.calls()).toEqual(['DEL b e1 eth1']);
    expect(await records()).toEqual([]);
  });

  test('works as the network was configured when the pod was attached', async () => {
    await plugins.addRecorder('a');
    await plugins.addRecorder('b');
    await configure('1.conflist', 'one', ['a'], { plugins: [{ type: 'a', mark: 'old' }] });
    const engine = await openEngine();
    await engine.attach(pod(), NEVER);
    await configure('1.conflist', 'new', ['b']);
    const second = await openEngine();
    await second.detach(pod(), NEVER);
    expect(await plugins.calls()).toEqual(['ADD a e1 eth0', 'DEL a e1 eth0']);
    expect(await plugins.input('a', 'DEL')).toMatchObject({ name: 'one', mark: 'old' });
  });

  test('names the namespace while it is there, and none when it is gone', async () => {
    await plugins.addRecorder('a');
    await configure('1.conflist', 'one', ['a']);
    const engine = await openEngine();
    const netns = plugins.path('netns');
    for (const [id, isThere] of [
      ['e1', true],
      ['e2', false],
    ] as const) {
      createPinnedNamespace('net', netns);
      try {
        await engine.attach(pod(id, { netns }), NEVER);
        expect(await plugins.netns('a', 'ADD')).toBe(netns);
        if (!isThere) {
          await removePinnedNamespace(netns);
          await writeFile(netns, '');
        }
        await engine.detach(pod(id, { netns }), NEVER);
        expect(await plugins.netns('a', 'DEL')).toBe(isThere ? netns : '');
      } finally {
        await removePinnedNamespace(netns);
      }
    }
  });

  test.each([
    ['lost', (path: string) => rm(path)],
    ['unreadable', (path: string) => writeFile(path, '{')],
  ])('goes by the result cache when the record is %s', async (_, spoil) => {
    await plugins.addRecorder('a');
    await configure('1.conflist', 'one', ['a']);
    const engine = await openEngine();
    await engine.attach(pod(), NEVER);
    await engine.attach(pod('e11'), NEVER);
    await spoil(plugins.path('state/attachments/e1.json'));
    await plugins.forgetCalls();
    await engine.detach(pod(), NEVER);
    expect(await plugins.calls()).toEqual(['DEL a e1 eth0']);
    expect(await readdir(plugins.path('cache/results'))).toEqual(['one-e11-eth0']);
  });
});

describe('garbage', () => {
  const SECOND = { cniVersion: '1.1.0' };

  test('of an earlier life is removed, valid pods and those of other runtimes are kept', async () => {
    await plugins.addRecorder('a');
    await configure('1.conflist', 'one', ['a'], SECOND);
    const first = await openEngine();
    for (const id of ['old', 'valid']) await first.attach(pod(id), NEVER);
    const other = await openEngine({ stateDir: plugins.path('other-state') });
    await other.attach(pod('foreign'), NEVER);
    const second = await openEngine();
    await second.attach(pod('new'), NEVER);
    await plugins.forgetCalls();
    await second.collectGarbage([{ containerId: 'valid' }], NEVER);
    expect(await plugins.calls()).toEqual(['DEL a old eth0', 'GC a']);
    const gc = await plugins.input('a', 'GC');
    expect(gc['cni.dev/valid-attachments']).toEqual(
      expect.arrayContaining(
        ['foreign', 'new', 'valid'].map((containerID) => ({ containerID, ifname: 'eth0' })),
      ),
    );
    expect(gc['cni.dev/valid-attachments']).toHaveLength(3);
    expect((await records()).sort()).toEqual(['new.json', 'valid.json']);
  });

  test('is removed though its network is configured no more', async () => {
    await plugins.addRecorder('a');
    await configure('1.conflist', 'one', ['a']);
    await (await openEngine()).attach(pod(), NEVER);
    await rm(plugins.path('conf/1.conflist'));
    await (await openEngine()).collectGarbage([], NEVER);
    expect(await plugins.calls()).toEqual(['ADD a e1 eth0', 'DEL a e1 eth0']);
  });

  test('that an undo left behind is removed by the next collection', async () => {
    await plugins.add('a', failing(100, 'no'));
    await configure('1.conflist', 'one', ['a'], SECOND);
    const { logger, lines } = listener();
    const engine = await openEngine({ logger });
    await expect(engine.attach(pod(), NEVER)).rejects.toThrow('no');
    expect(lines.join()).toMatch(/cannot undo "add eth0" of attach-pod: .*: no/);
    expect(await records()).toEqual(['e1.json']);
    await engine.collectGarbage([], NEVER);
    expect(lines.join()).toMatch(/cannot detach what is no pod any more, trying again later: .*no/);
    expect(lines.join()).toMatch(/cannot collect garbage of network "one", trying again later/);
    expect(await records()).toEqual(['e1.json']);
    await plugins.addRecorder('a');
    await engine.collectGarbage([], NEVER);
    expect(await plugins.calls()).toEqual(['DEL a e1 eth0', 'GC a']);
    expect(await plugins.input('a', 'GC')).toMatchObject({ 'cni.dev/valid-attachments': [] });
    expect(await records()).toEqual([]);
  });

  test('that cannot be removed does not keep the rest', async () => {
    await plugins.addRecorder('a', {
      before: `[ $CNI_COMMAND$CNI_CONTAINERID != DELbad ] || { ${failing(5, 'stuck')}; }`,
    });
    await configure('1.conflist', 'one', ['a'], SECOND);
    const first = await openEngine();
    for (const id of ['bad', 'good']) await first.attach(pod(id), NEVER);
    const second = await openEngine();
    await second.collectGarbage([], NEVER);
    expect(await records()).toEqual(['bad.json']);
    // The plugin may succeed where its DEL did not.
    expect(await plugins.input('a', 'GC')).toMatchObject({ 'cni.dev/valid-attachments': [] });
  });

  test('a record that cannot be read is set aside', async () => {
    await mkdir(plugins.path('state/attachments'), { recursive: true });
    await writeFile(plugins.path('state/attachments/e1.json'), 'garbage');
    await writeFile(plugins.path('state/attachments/e2.json.abc.tmp'), '');
    const { logger, lines } = listener();
    const engine = await openEngine({ logger });
    await engine.collectGarbage([], NEVER);
    expect(await records()).toEqual(['e1.json.unreadable']);
    expect(lines.join()).toMatch(/set aside: /);
  });
});
