import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Semaphore, sleep } from '../../src/base/index.ts';
import type { CniRuntime, NetworkList } from '../../src/cni/index.ts';
import {
  ask,
  Bench,
  clearOwnHost,
  enterOwnHost,
  inside,
  REFERENCE,
  serveAddress,
} from './plugin-harness.ts';
import {
  attachment,
  forever,
  leftovers,
  openEngine,
  ownRuntime,
  podAttachment,
  stressList,
  stressNetwork,
} from './stress-host.ts';

/** Milliseconds, of which an idle machine needs a tenth. */
const LONG = 240_000;

let bench: Bench;
let cni: CniRuntime;
let list: NetworkList;

beforeAll(enterOwnHost);

beforeEach(() => {
  bench = new Bench();
  cni = ownRuntime(bench);
  list = stressList(bench);
});

afterEach(async () => {
  await bench.close();
  clearOwnHost();
});

const openFiles = () => readdirSync('/proc/self/fd').length;

describe('many', () => {
  test(
    '1000 times ADD and DEL leave nothing',
    async () => {
      const cycle = async (netns: string, id: string, port: number) => {
        const place = attachment(id, netns, port);
        await cni.addNetworkList(list, place, forever);
        await cni.delNetworkList(list, place, forever);
      };
      const namespaces = Array.from({ length: 4 }, () => bench.namespace());
      await cycle(namespaces[0] ?? '', 'first', 7999);
      const before = openFiles();
      await Promise.all(
        namespaces.map(async (netns, lane) => {
          for (let turn = 0; turn < 250; turn++)
            await cycle(netns, `c${lane}-${turn}`, 8000 + lane);
        }),
      );
      expect(leftovers(bench)).toEqual([]);
      // Sockets of netfilter are closed a while after they were used.
      await expect.poll(openFiles, { timeout: 10_000 }).toBeLessThanOrEqual(before);
    },
    LONG,
  );

  test(
    '200 at once get 200 addresses, work, and leave nothing',
    async () => {
      const places = Array.from({ length: 200 }, (_, index) =>
        attachment(`c${index}`, bench.namespace(), 10_000 + index),
      );
      const results = await Promise.all(
        places.map((place) => cni.addNetworkList(list, place, forever)),
      );
      const addresses = results.map(({ ips }) => ips[0]?.address.split('/')[0] ?? '');
      expect(new Set(addresses).size).toBe(200);
      const [first, last] = [places[0]?.netns ?? '', places[199]?.netns ?? ''];
      const server = serveAddress(last, 80);
      expect(await ask(first, addresses[199] ?? '', 80)).toContain(addresses[0]);
      server.close();
      await Promise.all(places.map((place) => cni.checkNetworkList(list, place, forever)));
      await Promise.all(places.map((place) => cni.delNetworkList(list, place, forever)));
      expect(leftovers(bench)).toEqual([]);
    },
    LONG,
  );
});

describe('a daemon that is killed', () => {
  /** Runs the miniature daemon and kills it so many milliseconds after it began; answers how long it took otherwise. */
  async function runDaemon(netns: string, killAfter?: number): Promise<number> {
    const script = new URL('attach-built-in.ts', import.meta.url).pathname;
    const network = JSON.stringify(stressNetwork(bench));
    const child = spawn(process.execPath, [script, bench.directory, network, netns], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    await once(child.stdout, 'data');
    const start = performance.now();
    if (killAfter !== undefined) {
      await sleep(killAfter);
      child.kill('SIGKILL');
    }
    child.stdout.resume();
    await ended;
    return performance.now() - start;
  }

  test(
    'at any moment leaves nothing after the next start',
    async () => {
      const netns = bench.namespace();
      const duration = await runDaemon(netns);
      expect(leftovers(bench)).toEqual([]);
      for (let step = 0; step < 16; step++) {
        await runDaemon(netns, (duration * step) / 16);
        await using engine = await openEngine(bench, stressNetwork(bench));
        await engine.collectGarbage([], forever);
        expect(leftovers(bench)).toEqual([]);
        expect(inside(netns, 'ip', '-br', 'link')).not.toContain('eth0');
      }
    },
    LONG,
  );
});

describe('a store of host-local that is shared', () => {
  const run = promisify(execFile);
  const node = (...args: string[]) =>
    run(process.execPath, [new URL('allocate.ts', import.meta.url).pathname, ...args]);

  /** One program of the reference. */
  function reference(command: string, containerId: string): Promise<string[]> {
    const ipam = { type: 'host-local', subnet: '10.9.0.0/24', dataDir: bench.path('shared') };
    const env = {
      ...{ CNI_COMMAND: command, CNI_CONTAINERID: containerId, CNI_IFNAME: 'eth0' },
      ...{ CNI_NETNS: '/absent', CNI_PATH: REFERENCE },
    };
    const child = run(`${REFERENCE}/host-local`, { env });
    child.child.stdin?.end(JSON.stringify({ cniVersion: '1.0.0', name: 'testnet', ipam }));
    return child.then(({ stdout }) =>
      stdout === '' ? [] : JSON.parse(stdout).ips.map((ip: { address: string }) => ip.address),
    );
  }

  async function all(command: string): Promise<string[]> {
    const dataDir = bench.path('shared');
    const turns = new Semaphore(8);
    const programs = Array.from({ length: 60 }, async (_, index) => {
      using _turn = await turns.acquire(forever);
      return reference(command, `r${index}`);
    });
    const daemons = ['a', 'b'].map(async (prefix) => {
      const { stdout } = await node(dataDir, prefix, '80', command);
      return JSON.parse(stdout) as string[];
    });
    return (await Promise.all([...programs, ...daemons])).flat();
  }

  test(
    'by two daemons and the reference never gives an address twice',
    async () => {
      const addresses = await all('ADD');
      expect(addresses).toHaveLength(220);
      expect(new Set(addresses).size).toBe(220);
      await all('DEL');
      const left = readdirSync(bench.path('shared/testnet')).filter((name) =>
        name.startsWith('10.'),
      );
      expect(left).toEqual([]);
    },
    LONG,
  );
});

describe('bad luck', () => {
  test('an exhausted range serves who it can, and recovers', async () => {
    const small = stressList(bench, '10.77.0.0/29');
    const places = Array.from({ length: 12 }, (_, index) =>
      attachment(`c${index}`, bench.namespace()),
    );
    for (let round = 0; round < 2; round++) {
      const adds = places.map((place) => cni.addNetworkList(small, place, forever));
      const ended = await Promise.allSettled(adds);
      const failed = ended.filter((one) => one.status === 'rejected');
      expect(failed).toHaveLength(7);
      for (const { reason } of failed) expect(String(reason)).toMatch(/no IP addresses available/);
      await Promise.all(places.map((place) => cni.delNetworkList(small, place, forever)));
      expect(leftovers(bench)).toEqual([]);
    }
  });

  test('a container that is added twice keeps what it has', async () => {
    const place = attachment('c1', bench.namespace(), 8080);
    const { ips } = await cni.addNetworkList(list, place, forever);
    await expect(cni.addNetworkList(list, place, forever)).rejects.toThrow(/duplicate|exists/);
    await cni.checkNetworkList(list, place, forever);
    expect(inside(place.netns, 'ip', '-br', 'address', 'show', 'eth0')).toContain(
      ips[0]?.address ?? 'none',
    );
    await cni.delNetworkList(list, place, forever);
    expect(leftovers(bench)).toEqual([]);
  });

  test('the engine refuses a pod that is attached', async () => {
    await using engine = await openEngine(bench, stressNetwork(bench));
    const pod = podAttachment('killed3', bench.namespace());
    await engine.attach(pod, forever);
    await expect(engine.attach(pod, forever)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await engine.check(pod, forever);
    await engine.detach(pod, forever);
    expect(leftovers(bench)).toEqual([]);
  });

  test('DEL without ADD succeeds, again and again', async () => {
    for (const netns of [bench.namespace(), '', '/absent']) {
      await cni.delNetworkList(list, attachment('c1', netns), forever);
      await cni.delNetworkList(list, attachment('c1', netns, 8080), forever);
    }
    expect(leftovers(bench)).toEqual([]);
  });

  test('an interface name that is too long is refused before anything is made', async () => {
    const place = { ...attachment('c1', bench.namespace()), ifname: 'sixteen-bytes-xx' };
    await expect(cni.addNetworkList(list, place, forever)).rejects.toMatchObject({ cniCode: 4 });
    expect(leftovers(bench)).toEqual([]);
  });

  test('an interface name that is taken costs no address, and its owner nothing', async () => {
    const place = attachment('c1', bench.namespace(), 8080);
    inside(place.netns, 'ip', 'link', 'add', 'eth0', 'type', 'bridge');
    await expect(cni.addNetworkList(list, place, forever)).rejects.toThrow(/eth0/);
    expect(inside(place.netns, 'ip', '-d', 'link', 'show', 'eth0')).toContain('bridge');
    expect(leftovers(bench)).toEqual([]);
  });

  test('DEL of a namespace that is gone gives all back', async () => {
    const place = attachment('c1', bench.namespace(), 8080);
    await cni.addNetworkList(list, place, forever);
    await bench.forget(place.netns);
    await cni.delNetworkList(list, place, forever);
    await cni.delNetworkList(list, { ...place, netns: '' }, forever);
    // The kernel removes the other end of the veth pair some time after the namespace.
    await expect.poll(() => leftovers(bench), { timeout: 10_000 }).toEqual([]);
  });

  test('ADD to a namespace that is not there fails and leaves nothing', async () => {
    const place = attachment('c1', '/absent/namespace', 8080);
    await expect(cni.addNetworkList(list, place, forever)).rejects.toThrow(/absent/);
    await cni.delNetworkList(list, place, forever);
    expect(leftovers(bench)).toEqual([]);
  });
});
