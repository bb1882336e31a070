import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  ask,
  Bench,
  BuiltIn,
  type Config,
  clearOwnHost,
  enterOwnHost,
  inside,
  newContainerId,
  ownHost,
  type Result,
  runReference,
  serveAddress,
  udpSocket,
} from './plugin-harness.ts';

const bench = new Bench();
const ours = new BuiltIn();

beforeAll(() => enterOwnHost());
afterEach(() => clearOwnHost());
afterAll(() => bench.close());

let number = 0;

interface Pod {
  containerId: string;
  netns: string;
  prevResult: Result;
  config: Config;
}

/** A pod on a bridge: the first gets 10.N.0.2 and fd00:N::2. */
async function pod(): Promise<Pod> {
  const config: Config = {
    type: 'bridge',
    bridge: `br${number}`,
    isGateway: true,
    ipMasq: true,
    hairpinMode: true,
    ipam: {
      type: 'host-local',
      dataDir: bench.path(`store-${number}`),
      ranges: [[{ subnet: `10.${number}.0.0/16` }], [{ subnet: `fd00:${number}::/64` }]],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
    },
  };
  const containerId = newContainerId();
  const netns = bench.namespace();
  return { containerId, netns, config, prevResult: await ours.add(config, { containerId, netns }) };
}

/** A machine beside the host, which reaches it as 192.0.2.1 and 2001:db8::1. */
function outside(): string {
  const netns = bench.host();
  inside(
    undefined,
    'ip',
    'link',
    'add',
    'up0',
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    netns,
  );
  for (const [at, dev, last] of [
    [undefined, 'up0', 1],
    [netns, 'eth0', 2],
  ] as const) {
    inside(at, 'ip', 'addr', 'add', `192.0.2.${last}/24`, 'dev', dev);
    inside(at, 'ip', '-6', 'addr', 'add', `2001:db8::${last}/64`, 'dev', dev, 'nodad');
    inside(at, 'ip', 'link', 'set', dev, 'up');
  }
  return netns;
}

function portmap(portMappings: object[], more: object = {}): Config {
  return { type: 'portmap', runtimeConfig: { portMappings }, ...more };
}

const rules = () => inside(undefined, 'nft', 'list', 'ruleset');
const elements = () =>
  rules()
    .split('\n')
    .filter((line) => line.includes('comment'))
    .join('\n');
const nat = (at: string | undefined, save: string) =>
  inside(at, save, '-t', 'nat')
    .split('\n')
    .filter((line) => line.startsWith('-A'))
    .sort();

describe.each([['nftables'], ['iptables']])('%s', (backend) => {
  test('leads host ports to the pod from outside, the host, itself and its neighbours', async () => {
    number++;
    const [first, second] = [await pod(), await pod()];
    const far = outside();
    const one = portmap(
      [
        { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
        { hostPort: 8081, containerPort: 80, protocol: 'TCP', hostIP: '192.0.2.1' },
        { hostPort: 8082, containerPort: 80, protocol: 'tcp', hostIP: '127.0.0.1' },
        { hostPort: 8083, containerPort: 80, protocol: 'tcp', hostIP: '::' },
      ],
      { backend },
    );
    const result = await ours.add(one, first);
    expect(result).toEqual({ cniVersion: '1.0.0', ...first.prevResult });
    await ours.check(one, first);
    const server = serveAddress(first.netns, 80);
    const v4 = `10.${number}.0`;
    const v6 = `fd00:${number}:`;
    try {
      expect(await ask(far, '192.0.2.1', 8080)).toBe('192.0.2.2');
      expect(await ask(far, '192.0.2.1', 8081)).toBe('192.0.2.2');
      expect(await ask(far, '2001:db8::1', 8080)).toBe('2001:db8::2');
      expect(await ask(far, '2001:db8::1', 8083)).toBe('2001:db8::2');
      expect(await ask(ownHost(), '127.0.0.1', 8080)).toBe(`${v4}.1`);
      expect(await ask(ownHost(), '127.0.0.1', 8082)).toBe(`${v4}.1`);
      expect(await ask(first.netns, `${v4}.1`, 8080)).toBe(`${v4}.1`);
      expect(await ask(second.netns, `${v4}.1`, 8080)).toBe(`${v4}.1`);
      expect(await ask(second.netns, `${v6}:1`, 8080)).toBe(`${v6}:1`);
      await expect(ask(far, '192.0.2.1', 8082)).rejects.toThrow('ECONNREFUSED');
      await expect(ask(far, '192.0.2.1', 8083)).rejects.toThrow('ECONNREFUSED');
    } finally {
      server.close();
    }
    await ours.del(one, first);
    await ours.del(one, first);
    await expect(ours.check(one, first)).rejects.toThrow('missing');
    await expect(ask(far, '192.0.2.1', 8080)).rejects.toThrow('ECONNREFUSED');
    expect(rules()).not.toMatch(/CNI-DN-|808/);
  });

  test('UDP that went elsewhere goes to the pod from then on', async () => {
    number++;
    const first = await pod();
    const far = outside();
    const heard: string[] = [];
    const server = udpSocket(first.netns, 53);
    server.on('message', (message) => heard.push(`pod ${message}`));
    const hostServer = udpSocket(ownHost(), 5353);
    hostServer.on('message', (message) => heard.push(`host ${message}`));
    const client = udpSocket(far, 4444);
    const say = async (text: string) => {
      client.send(text, 5353, '192.0.2.1');
      await expect.poll(() => heard.join(), { timeout: 10_000 }).toContain(text);
    };
    try {
      // Connections are tracked only once there is NAT.
      inside(undefined, 'iptables', '-t', 'nat', '-A', 'PREROUTING', '-p', 'icmp', '-j', 'RETURN');
      await say('before');
      const one = portmap([{ hostPort: 5353, containerPort: 53, protocol: 'udp' }], { backend });
      await ours.add(one, first);
      await say('after');
      await ours.del(one, first);
      await say('afterwards');
      expect(heard).toEqual(['host before', 'pod after', 'host afterwards']);
    } finally {
      for (const one of [server, hostServer, client]) one.close();
    }
  });

  test('the last one who claims a port has it, and DEL of the other does not take it', async () => {
    number++;
    const [first, second] = [await pod(), await pod()];
    const one = portmap([{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }], { backend });
    await ours.add(one, first);
    await ours.add(one, second);
    const server = serveAddress(second.netns, 80);
    try {
      expect(await ask(ownHost(), '127.0.0.1', 8080)).toBe(`10.${number}.0.1`);
      await ours.del(one, first);
      await ours.check(one, second);
      expect(await ask(ownHost(), '127.0.0.1', 8080)).toBe(`10.${number}.0.1`);
    } finally {
      server.close();
    }
    await ours.del(one, second);
    expect(rules()).not.toContain('8080');
  });

  test('without snat the host itself is not masqueraded, with masqAll everyone is', async () => {
    number++;
    const first = await pod();
    const far = outside();
    const mapping = { hostPort: 8080, containerPort: 80, protocol: 'tcp' };
    const plain = portmap([mapping], { backend, snat: false });
    await ours.add(plain, first);
    expect(
      inside(undefined, 'sysctl', '-n', `net.ipv4.conf.br${number}.route_localnet`).trim(),
    ).toBe('0');
    await ours.del(plain, first);
    const all = portmap([mapping], { backend, masqAll: true });
    await ours.add(all, first);
    const server = serveAddress(first.netns, 80);
    try {
      expect(await ask(far, '192.0.2.1', 8080)).toBe(`10.${number}.0.1`);
      expect(await ask(far, '2001:db8::1', 8080)).not.toBe('2001:db8::2');
    } finally {
      server.close();
    }
    await ours.check(all, first);
    await ours.del(all, first);
    expect(rules()).not.toContain('8080');
  });
});

describe('iptables', () => {
  test.each([
    ['a mapping of each kind', {}],
    ['another mark', { markMasqBit: 7 }],
    ['a foreign chain for marks', { externalSetMarkChain: 'MY-MARK' }],
    ['conditions', { conditionsV4: ['!', '-d', '192.0.2.0/24'], conditionsV6: ['-s', 'fd00::/8'] }],
    ['snat off', { snat: false }],
  ])('makes the rules of the reference: %s', async (_, more) => {
    number++;
    const mappings = [
      { hostPort: 8081, containerPort: 81, protocol: 'udp', hostIP: '192.0.2.1' },
      { hostPort: 8082, containerPort: 82, protocol: 'sctp', hostIP: '0.0.0.0' },
      ...Array.from({ length: 17 }, (_, i) => ({
        hostPort: 9000 + i,
        containerPort: 80 + i,
        protocol: 'tcp',
      })),
    ];
    const first = await pod();
    const host = bench.host();
    for (const at of [host, undefined]) {
      for (const program of ['iptables', 'ip6tables'])
        inside(at, program, '-t', 'nat', '-N', 'MY-MARK');
    }
    const own = nat(undefined, 'iptables-save');
    runReference(host, 'ADD', portmap(mappings, more), first);
    await ours.add(portmap(mappings, { backend: 'iptables', ...more }), first);
    expect(nat(undefined, 'iptables-save').filter((line) => !own.includes(line))).toEqual(
      nat(host, 'iptables-save'),
    );
    expect(nat(undefined, 'ip6tables-save')).toEqual(nat(host, 'ip6tables-save'));
    runReference(host, 'DEL', portmap(mappings, more), first);
    await ours.del(portmap(mappings, { backend: 'iptables', ...more }), first);
    expect(nat(undefined, 'iptables-save').filter((line) => !own.includes(line))).toEqual(
      nat(host, 'iptables-save'),
    );
    expect(nat(undefined, 'ip6tables-save')).toEqual(nat(host, 'ip6tables-save'));
  });
});

describe('iptables', () => {
  test('GC removes the rules of containers that are not valid, of its network alone', async () => {
    number++;
    const [first, second] = [await pod(), await pod()];
    const masquerade = { ...first.config, ipMasqBackend: 'iptables' };
    const one = portmap([{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }], {
      backend: 'iptables',
    });
    for (const target of [first, second]) {
      await ours.add(one, target);
      await ours.add({ ...masquerade }, { ...target, ifname: 'eth1' });
    }
    const rules = () => ['iptables-save', 'ip6tables-save'].flatMap((save) => nat(undefined, save));
    const of = (target: Pod) => rules().filter((line) => line.includes(target.containerId)).length;
    const before = of(first);
    expect(of(second)).toBe(before);
    const valid = {
      'cni.dev/valid-attachments': [{ containerID: first.containerId, ifname: 'eth0' }],
    };
    for (const name of ['othernet', 'testnet']) {
      await ours.run('GC', { ...one, ...valid, name });
      await ours.run('GC', { ...masquerade, ...valid, name, ipam: {} });
      expect(of(second)).toBe(name === 'othernet' ? before : 0);
    }
    expect(of(first)).toBe(before);
  });
});

describe('nftables', () => {
  test('DEL without result and without mappings removes all; GC what is not valid', async () => {
    number++;
    const [first, second] = [await pod(), await pod()];
    const one = portmap([{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]);
    const two = portmap([{ hostPort: 8090, containerPort: 80, protocol: 'sctp' }]);
    await ours.add(one, first);
    await ours.add(two, second);
    expect(elements()).toContain('8080');
    await ours.del(portmap([]), { containerId: first.containerId });
    expect(elements()).not.toContain('8080');
    expect(elements()).toContain('sctp . 8090');
    await ours.run('GC', { ...two, 'cni.dev/valid-attachments': [] });
    expect(elements()).not.toContain('8090');
  });

  test('another network is left alone by GC', async () => {
    number++;
    const first = await pod();
    const one = portmap([{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]);
    await ours.add(one, first);
    await ours.run('GC', { ...one, name: 'othernet', 'cni.dev/valid-attachments': [] });
    await ours.check(one, first);
  });
});

test.each([
  ['hostPort', { hostPort: 0, containerPort: 80, protocol: 'tcp' }],
  ['containerPort', { hostPort: 80, containerPort: 70000, protocol: 'tcp' }],
  ['protocol', { hostPort: 80, containerPort: 80, protocol: 'icmp' }],
  ['hostIP', { hostPort: 80, containerPort: 80, protocol: 'tcp', hostIP: '1.2.3' }],
])('refuses a mapping: %s', async (message, mapping) => {
  await expect(
    ours.add(portmap([mapping]), { containerId: 'c', prevResult: {} }),
  ).rejects.toMatchObject({ cniCode: 7, message: expect.stringContaining(message) });
});

test.each([
  ['must be chained', undefined, {}],
  ['need backend "iptables"', {}, { backend: 'nftables', conditionsV4: ['-s', '10.0.0.0/8'] }],
  ['cannot specify', {}, { markMasqBit: 3, externalSetMarkChain: 'X' }],
  ['no word of an iptables rule', {}, { conditionsV4: ['-s\n-A INPUT -j DROP'] }],
  ['no name of a chain', {}, { externalSetMarkChain: 'X -j ACCEPT' }],
])('refuses a configuration: %s', async (message, prevResult, more) => {
  const one = portmap([{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }], more);
  await expect(ours.add(one, { containerId: 'c', prevResult })).rejects.toMatchObject({
    cniCode: 7,
    message: expect.stringContaining(message),
  });
});
