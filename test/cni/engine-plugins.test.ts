import { readdir } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NEVER, SILENT } from '../../src/base/index.ts';
import {
  type Attachment,
  bridgeNetwork,
  CNI_VERSIONS,
  CniEngine,
  CniRuntime,
  ExecInvoker,
  type PodAttachment,
  parseNetworkList,
} from '../../src/cni/index.ts';
import { HostNetwork } from './host-network.ts';

let network: HostNetwork;

beforeEach(async () => {
  network = await HostNetwork.create();
});

afterEach(() => network[Symbol.asyncDispose]());

function runtime(): CniRuntime {
  const invoker = new ExecInvoker();
  return new CniRuntime({ invoker, binDirs: [network.bin], cacheDir: network.path('cache') });
}

function openEngine(subnets: string[]): Promise<CniEngine> {
  const dataDir = network.path('ipam');
  return CniEngine.open({
    confDir: network.path('conf'),
    binDirs: [network.bin],
    cacheDir: network.path('cache'),
    stateDir: network.path('state'),
    logger: SILENT,
    invoker: new ExecInvoker(),
    defaultNetwork: bridgeNetwork({ name: 'pods', bridge: 'br0', subnets, dataDir }),
  });
}

function pod(id: string, changes: Partial<PodAttachment> = {}): PodAttachment {
  return {
    ...{ containerId: id, netns: network.createPod(id) },
    ...{ podName: id, podNamespace: 'test', podUid: id, portMappings: [] },
    ...changes,
  };
}

describe('the embedded network with Debian’s plugins', () => {
  test('carries traffic between pods, from the host, and to host ports; and leaves nothing', async () => {
    await using engine = await openEngine(['10.91.0.0/24']);
    const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' as const }];
    const [a, b] = [pod('a', { portMappings }), pod('b')];
    const [first, second] = await Promise.all([engine.attach(a, NEVER), engine.attach(b, NEVER)]);
    const [ip = ''] = first.ips;
    expect([ip, second.ips[0]].sort()).toEqual(['10.91.0.2', '10.91.0.3']);
    {
      using _ = await network.serve(a.netns, 80, 'hello');
      expect(await network.fetch(b.netns, ip, 80)).toBe('hello');
      expect(await network.fetch(network.host, ip, 80)).toBe('hello');
      expect(await network.fetch(b.netns, '10.91.0.1', 8080)).toBe('hello');
      expect(await network.fetch(a.netns, '10.91.0.1', 8080)).toBe('hello');
    }
    await Promise.all([engine.detach(a, NEVER), engine.detach(b, NEVER)]);
    await engine.detach(a, NEVER);
    expect(await network.leftovers('br0')).toEqual([]);
    expect(await readdir(network.path('cache/results'))).toEqual([]);
  });

  test('gives addresses of both families', async () => {
    await using engine = await openEngine(['10.91.0.0/24', 'fd00:91::/64']);
    const a = pod('a');
    const { ips, results } = await engine.attach(a, NEVER);
    expect(ips).toEqual(['10.91.0.2', 'fd00:91::2']);
    expect(results[0]?.routes.map(({ dst }) => dst)).toEqual(['0.0.0.0/0', '::/0']);
    const routes = await network.inside(a.netns, 'ip', '-6', 'route', 'show', 'default');
    expect(routes).toContain('via fd00:91::1 dev eth0');
    await engine.detach(a, NEVER);
  });

  test('lets go of a pod whose namespace is gone', async () => {
    await using engine = await openEngine(['10.91.0.0/24']);
    const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' as const }];
    const a = pod('a', { portMappings });
    await engine.attach(a, NEVER);
    await network.removePod(a.netns);
    await engine.detach(a, NEVER);
    // Without the namespace, this version of the bridge plugin forgets its masquerading rules.
    const left = await network.leftovers('br0');
    expect(left.filter((each) => !/POSTROUTING|-A CNI-[0-9a-f]/.test(each))).toEqual([]);
  });

  test('runs out of addresses and recovers', async () => {
    await using engine = await openEngine(['10.91.0.0/30']);
    const [a, b] = [pod('a'), pod('b')];
    expect((await engine.attach(a, NEVER)).ips).toEqual(['10.91.0.2']);
    await expect(engine.attach(b, NEVER)).rejects.toThrow(
      /Cannot attach pod "test\/b": Cannot add "eth0" on network "pods": .*no IP addresses available/,
    );
    await engine.detach(a, NEVER);
    expect((await engine.attach(b, NEVER)).ips).toEqual(['10.91.0.2']);
    await engine.detach(b, NEVER);
    expect(await network.leftovers('br0')).toEqual([]);
  });

  test('stands many pods at once', async () => {
    await using engine = await openEngine(['10.91.0.0/24']);
    const pods = Array.from({ length: 16 }, (_, index) => pod(`p${index}`));
    const attached = await Promise.all(pods.map((each) => engine.attach(each, NEVER)));
    expect(new Set(attached.map(({ ips }) => ips[0])).size).toBe(16);
    await Promise.all(pods.map((each) => engine.detach(each, NEVER)));
    expect(await network.leftovers('br0')).toEqual([]);
  });
});

describe('each version of the specification', () => {
  const attachment = (netns: string): Attachment => {
    return { containerId: 'c1', netns, ifname: 'eth0', args: [], capabilityArgs: {} };
  };

  function list(version: string) {
    return parseNetworkList(
      {
        cniVersion: version,
        name: 'versions',
        plugins: [
          {
            ...{ type: 'bridge', bridge: 'br1', isGateway: true },
            ipam: {
              type: 'host-local',
              subnet: '10.92.0.0/24',
              routes: [{ dst: '0.0.0.0/0' }],
              dataDir: network.path('ipam'),
            },
          },
          { type: 'tuning', sysctl: { 'net.ipv4.conf.eth0.arp_notify': '1' } },
        ],
      },
      'it',
    );
  }

  // Debian's plugins speak all but the newest.
  test.each(CNI_VERSIONS.filter((version) => version !== '1.1.0'))('%s', async (version) => {
    const cni = runtime();
    const netns = network.createPod('a');
    const result = await cni.addNetworkList(list(version), attachment(netns), NEVER);
    expect(result.ips[0]?.address).toBe('10.92.0.2/24');
    expect(result.ips[0]?.gateway).toBe('10.92.0.1');
    expect(result.routes).toMatchObject([{ dst: '0.0.0.0/0' }]);
    const old = version === '0.1.0' || version === '0.2.0';
    expect(result.interfaces.map(({ name }) => name).at(-1)).toBe(old ? undefined : 'eth0');
    if (version === '0.4.0' || version === '1.0.0') {
      await cni.checkNetworkList(list(version), attachment(netns), NEVER);
      await network.inside(netns, 'ip', 'address', 'flush', 'dev', 'eth0');
      await expect(cni.checkNetworkList(list(version), attachment(netns), NEVER)).rejects.toThrow(
        /eth0|10\.92\.0\.2/,
      );
    }
    await cni.delNetworkList(list(version), attachment(netns), NEVER);
    await cni.delNetworkList(list(version), attachment(netns), NEVER);
    expect(await network.leftovers('br1')).toEqual([]);
    await cni.validateNetworkList(list(version), NEVER);
  });

  test('one that the plugins do not speak', async () => {
    const cni = runtime();
    const netns = network.createPod('a');
    await expect(cni.addNetworkList(list('1.1.0'), attachment(netns), NEVER)).rejects.toMatchObject(
      { cniCode: 1, code: 'FAILED_PRECONDITION' },
    );
    await expect(cni.validateNetworkList(list('1.1.0'), NEVER)).rejects.toThrow(
      /plugin "bridge" does not speak CNI version 1\.1\.0/,
    );
  });
});

test('capability arguments reach the plugins: addresses, MAC, bandwidth', async () => {
  const cni = runtime();
  const netns = network.createPod('a');
  const dataDir = network.path('ipam');
  const ipam = { type: 'host-local', ranges: [[{ subnet: '10.93.0.0/24' }]], dataDir };
  const list = parseNetworkList(
    {
      cniVersion: '1.0.0',
      name: 'capable',
      plugins: [
        { type: 'bridge', bridge: 'br2', ipam, capabilities: { ips: true, mac: true } },
        { type: 'bandwidth', capabilities: { bandwidth: true } },
      ],
    },
    'it',
  );
  const attachment = {
    ...{ containerId: 'c1', netns, ifname: 'eth0', args: [] },
    capabilityArgs: {
      ips: ['10.93.0.77'],
      mac: 'c2:11:22:33:44:55',
      bandwidth: { ingressRate: 1_000_000, ingressBurst: 8_000_000 },
    },
  };
  const result = await cni.addNetworkList(list, attachment, NEVER);
  expect(result.ips[0]?.address).toBe('10.93.0.77/24');
  expect(result.interfaces.at(-1)?.mac).toBe('c2:11:22:33:44:55');
  expect(await network.onHost('tc', 'qdisc')).toMatch(/qdisc tbf .* rate 1Mbit/);
  await cni.delNetworkList(list, attachment, NEVER);
  expect(await network.leftovers('br2')).toEqual([]);
});

test('static addresses come by CNI_ARGS', async () => {
  const cni = runtime();
  const netns = network.createPod('a');
  const config = {
    ...{ cniVersion: '1.0.0', name: 'fixed', type: 'ptp' },
    ipam: { type: 'static', addresses: [] },
  };
  const args: [string, string][] = [
    ['IgnoreUnknown', '1'],
    ['IP', '10.94.0.9/24'],
    ['GATEWAY', '10.94.0.1'],
  ];
  const attachment = { containerId: 'c1', netns, ifname: 'eth0', args, capabilityArgs: {} };
  const result = await cni.addNetwork(config, attachment, NEVER);
  expect(result.ips).toMatchObject([{ address: '10.94.0.9/24', gateway: '10.94.0.1' }]);
  await cni.delNetwork(config, attachment, NEVER);
  expect(await network.leftovers('')).toEqual([]);
});
