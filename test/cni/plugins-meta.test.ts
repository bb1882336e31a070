import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  ask,
  Bench,
  BuiltIn,
  type Config,
  clearOwnHost,
  comparable,
  enterOwnHost,
  inside,
  networkOf,
  newContainerId,
  ownHost,
  type Result,
  runReference,
  serveAddress,
} from './plugin-harness.ts';

const bench = new Bench();
const ours = new BuiltIn();

beforeAll(() => enterOwnHost());
afterEach(() => clearOwnHost());
afterAll(() => bench.close());

interface Pod {
  host: string | undefined;
  containerId: string;
  netns: string;
  ifname: string;
  prevResult: Result;
}

/** A container on a bridge of a host, made by our bridge plugin, or by the reference's. */
async function pod(
  host: string | undefined,
  more: {
    ifname?: string;
    net?: number;
    last?: number;
    containerId?: string;
    netns?: string;
  } = {},
): Promise<Pod> {
  const { net = 1, last = 5 } = more;
  const config: Config = {
    type: 'bridge',
    bridge: `br${net}`,
    isGateway: true,
    ipam: {
      type: 'static',
      addresses: [{ address: `10.66.${net}.${last}/24` }, { address: `fd66:${net}::${last}/64` }],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }, { dst: `192.0.${net}.0/24` }],
    },
  };
  const containerId = more.containerId ?? newContainerId();
  const netns = more.netns ?? bench.namespace();
  const ifname = more.ifname ?? 'eth0';
  const prevResult =
    host === undefined
      ? await ours.add(config, { containerId, netns, ifname })
      : runReference(host, 'ADD', config, { containerId, netns, ifname });
  return { host, containerId, netns, ifname, prevResult: prevResult ?? {} };
}

/** The same container on two hosts: for the reference, and for us. */
async function twins(
  more: { ifname?: string; net?: number } = {},
): Promise<[theirs: Pod, mine: Pod]> {
  const containerId = newContainerId();
  return [
    await pod(bench.host(), { ...more, containerId }),
    await pod(undefined, { ...more, containerId }),
  ];
}

function runOn(
  target: Pod,
  command: 'ADD' | 'DEL' | 'CHECK',
  config: Config,
): Promise<Result | undefined> {
  return target.host === undefined
    ? ours.run(command, config, target)
    : Promise.resolve(runReference(target.host, command, config, target));
}

/** IPv6 state that comes late is left out. */
function network(target: Pod): unknown {
  const { routes6: _, ...rest } = networkOf(target.netns);
  return rest;
}

function filterRules(at: string | undefined): string[] {
  return ['iptables-save', 'ip6tables-save'].flatMap((save) =>
    inside(at, save, '-t', 'filter')
      .split('\n')
      .filter((line) => line.startsWith('-A')),
  );
}

describe('tuning', () => {
  const one = (more: object = {}): Config => ({
    type: 'tuning',
    dataDir: bench.path('tuning'),
    sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1', 'net.core.somaxconn': '500' },
    mac: '02:00:00:00:00:77',
    mtu: 1300,
    promisc: true,
    allmulti: true,
    ...more,
  });

  test('does what the reference does, and undoes it', async () => {
    const [theirs, mine] = await twins();
    const before = network(mine);
    const expected = await runOn(theirs, 'ADD', one());
    const file = join(bench.path('tuning'), `${mine.containerId}_eth0.json`);
    const saved = Object.keys(JSON.parse(readFileSync(file, 'utf8'))).sort();
    const result = await runOn(mine, 'ADD', one());
    expect(comparable(result)).toEqual(comparable(expected));
    expect(result?.['interfaces'][2].mac).toBe('02:00:00:00:00:77');
    expect(network(mine)).toEqual(network(theirs));
    expect(Object.keys(JSON.parse(readFileSync(file, 'utf8'))).sort()).toEqual(saved);
    const sysctl = (name: string) => inside(mine.netns, 'sysctl', '-n', name).trim();
    expect([sysctl('net.ipv4.conf.eth0.arp_filter'), sysctl('net.core.somaxconn')]).toEqual([
      '1',
      '500',
    ]);
    await ours.check(one(), { ...mine, prevResult: result });
    inside(mine.netns, 'ip', 'link', 'set', 'eth0', 'mtu', '1400');
    await expect(ours.check(one(), { ...mine, prevResult: result })).rejects.toThrow('MTU');
    await runOn(mine, 'DEL', one());
    await runOn(mine, 'DEL', one());
    expect(network(mine)).toEqual(before);
    expect(existsSync(file)).toBe(false);
  });

  test('args go before the configuration, and DEL works without namespace', async () => {
    const mine = await pod(undefined);
    const args = {
      cni: { sysctl: { 'net.core.somaxconn': '600' }, mtu: 1200, promisc: false, txQLen: 55 },
    };
    await runOn(mine, 'ADD', one({ args, runtimeConfig: { mac: '02:00:00:00:00:78' } }));
    const [link] = JSON.parse(inside(mine.netns, 'ip', '-json', '-d', 'link', 'show', 'eth0'));
    expect(link).toMatchObject({
      mtu: 1200,
      txqlen: 55,
      address: '02:00:00:00:00:78',
      promiscuity: 0,
    });
    expect(inside(mine.netns, 'sysctl', '-n', 'net.core.somaxconn').trim()).toBe('600');
    await bench.forget(mine.netns);
    await runOn(mine, 'DEL', one());
    expect(readdirSync(bench.path('tuning'))).not.toContain(`${mine.containerId}_eth0.json`);
  });

  test.each([
    ['invalid net sysctl key', { sysctl: { 'kernel.hostname': 'x' } }],
    ['invalid net sysctl key', { sysctl: { 'net/../kernel.hostname': 'x' } }],
    ['a string', { sysctl: { 'net.core.somaxconn': 5 } }],
    ['MAC address', { mac: 'x' }],
    ['no sysctl', { sysctl: { 'net.core.nonsense': '1' } }],
  ])('refuses a configuration: %s', async (message, more) => {
    await expect(runOn(await pod(undefined), 'ADD', one(more))).rejects.toThrow(message);
  });
});

describe('bandwidth', () => {
  const limits = {
    ingressRate: 8_000_000,
    ingressBurst: 800_000,
    egressRate: 16_000_000,
    egressBurst: 4294967295,
  };
  const queues = (at: string | undefined) =>
    inside(at, 'tc', 'qdisc')
      .replaceAll(/veth[0-9a-f]{8}/g, 'veth*')
      .split('\n')
      .filter((line) => /tbf|ingress/.test(line))
      .sort();
  const filters = (target: Pod) =>
    inside(
      target.host,
      'tc',
      'filter',
      'show',
      'dev',
      target.prevResult['interfaces'][1].name,
      'ingress',
    )
      // The reference adds the action twice; the second is never reached.
      .replace(/\n\s*action order 2[\s\S]*/, '')
      .replaceAll(/index \d+|ref \d+|bind \d+|installed.*/g, '')
      .trimEnd();

  test.each([
    ['configured', limits],
    ['by the runtime', { runtimeConfig: { bandwidth: limits } }],
    ['ingress only', { ingressRate: 1000, ingressBurst: 80_000 }],
    ['nothing', {}],
  ])('does what the reference does: %s', async (_, more) => {
    const config = { type: 'bandwidth', ...more };
    const [theirs, mine] = await twins();
    const expected = await runOn(theirs, 'ADD', config);
    const result = await runOn(mine, 'ADD', config);
    expect(comparable(result)).toEqual(comparable(expected));
    expect(queues(undefined)).toEqual(queues(theirs.host));
    expect(filters(mine)).toEqual(filters(theirs));
    await ours.check(config, { ...mine, prevResult: result });
    await runOn(mine, 'DEL', config);
    await runOn(mine, 'DEL', config);
    await runOn(theirs, 'DEL', config);
    expect(inside(undefined, 'ip', 'link')).not.toContain('bwp');
    if ('egressRate' in more) {
      await expect(ours.check(config, { ...mine, prevResult: result })).rejects.toThrow(
        'not found',
      );
    }
  });

  test.each([
    ['unshapedSubnets', '1:1', 'default 0x30'],
    ['shapedSubnets', '1:30', 'default 0x1'],
  ])('%s puts what goes there into class %s', async (key, ofSubnets, others) => {
    const mine = await pod(undefined);
    const config: Config = {
      type: 'bandwidth',
      [key]: ['10.66.1.77/16', 'fd00:db8:abcd:1234:e000::/68'],
      runtimeConfig: { bandWidth: { ...limits, egressBurst: 800_000 } },
    };
    const interfaces = (await runOn(mine, 'ADD', config))?.['interfaces'];
    const server = serveAddress(mine.netns, 80);
    for (let asked = 0; asked < 5; asked++) {
      expect(await ask(ownHost(), '10.66.1.5', 80)).toBe('10.66.1.1');
    }
    server.close();
    for (const [name, rate] of [
      [interfaces[1].name, '8Mbit'],
      [interfaces[3].name, '16Mbit'],
    ]) {
      const tc = (...args: string[]) => inside(undefined, 'tc', ...args, 'dev', name);
      expect(tc('qdisc', 'show')).toMatch(new RegExp(`htb 1: root .* ${others} `));
      const classes = tc('-s', 'class', 'show');
      expect(classes).toMatch(
        new RegExp(`htb 1:30 root .*rate ${rate} ceil ${rate} burst 100000b`),
      );
      // Neighbours are searched for in the other class, with some packets.
      const sent = classes.split('class').find((text) => text.includes(`htb ${ofSubnets} `));
      expect(Number(/Sent \d+ bytes (\d+) pkt/.exec(sent ?? '')?.[1])).toBeGreaterThan(15);
      expect(tc('filter', 'show').match(/\S+ at \d+|flowid \S+/g)).toEqual([
        `flowid ${ofSubnets}`,
        ...['fd000db8/ffffffff at 24', 'abcd1234/ffffffff at 28', 'e0000000/f0000000 at 32'],
        `flowid ${ofSubnets}`,
        '0a420000/ffff0000 at 16',
      ]);
    }
    await ours.check(config, { ...mine, prevResult: { ...mine.prevResult, interfaces } });
    const faster = { ...config, ingressRate: 1000, ingressBurst: 1000 };
    await expect(ours.check(faster, mine)).rejects.toThrow('no class of 125 bytes per second');
    await runOn(mine, 'DEL', config);
    expect(inside(undefined, 'ip', 'link')).not.toContain('bwp');
  });

  test('traffic still flows both ways', async () => {
    const mine = await pod(undefined);
    await runOn(mine, 'ADD', { type: 'bandwidth', ...limits });
    const server = serveAddress(mine.netns, 80);
    try {
      expect(await ask(ownHost(), '10.66.1.5', 80)).toBe('10.66.1.1');
    } finally {
      server.close();
    }
  });

  test.each([
    ['ingressBurst must also be set', { ingressRate: 8 }],
    ['egressRate must also be set', { egressBurst: 8 }],
    ['more than 4 GiB', { egressRate: 800, egressBurst: 40_000_000_000 }],
    ['not both', { ...limits, shapedSubnets: ['10.0.0.0/8'], unshapedSubnets: ['fd00::/8'] }],
    ['prefix', { ...limits, unshapedSubnets: ['10.0.0.0'] }],
  ])('refuses a configuration: %s', async (message, more) => {
    await expect(
      runOn(await pod(undefined), 'ADD', { type: 'bandwidth', ...more }),
    ).rejects.toThrow(message);
  });
});

describe('firewall', () => {
  test.each([[{}], [{ iptablesAdminChainName: 'SITE-RULES' }]])(
    'makes and removes the rules of the reference: %j',
    async (more) => {
      const config = { type: 'firewall', backend: 'iptables', ...more };
      const [theirs, mine] = await twins();
      for (const target of [theirs, mine]) await runOn(target, 'ADD', config);
      expect(filterRules(undefined)).toEqual(filterRules(theirs.host));
      await runOn(mine, 'ADD', config);
      expect(filterRules(undefined)).toEqual(filterRules(theirs.host));
      await ours.check(config, mine);
      for (const target of [theirs, mine]) await runOn(target, 'DEL', config);
      await runOn(mine, 'DEL', config);
      expect(filterRules(undefined)).toEqual(filterRules(theirs.host));
      await expect(ours.check(config, mine)).rejects.toThrow('missing');
      await ours.del(config, { containerId: mine.containerId });
    },
  );

  test('same-bridge: what comes from another bridge is dropped, what comes from outside is not', async () => {
    const config = { type: 'firewall', ingressPolicy: 'same-bridge' };
    const [a, b] = [await pod(undefined, { net: 1 }), await pod(undefined, { net: 2 })];
    const server = serveAddress(a.netns, 80);
    try {
      expect(await ask(b.netns, '10.66.1.5', 80)).toBe('10.66.2.5');
      for (const target of [a, b]) await runOn(target, 'ADD', config);
      await expect(ask(b.netns, '10.66.1.5', 80, 500)).rejects.toThrow('no answer');
      expect(await ask(ownHost(), '10.66.1.5', 80)).toBe('10.66.1.1');
      await ours.check(config, a);
    } finally {
      server.close();
    }
  });

  test('isolated: not even the containers of its own bridge reach it', async () => {
    const config = { type: 'firewall', ingressPolicy: 'isolated' };
    const mine = await pod(undefined);
    await runOn(mine, 'ADD', config);
    const rules = filterRules(undefined).filter((rule) => rule.endsWith('-j DROP'));
    expect(rules.filter((rule) => rule.includes('-i br1 -o br1'))).toHaveLength(2);
    expect(rules.filter((rule) => rule.startsWith('-A CNI-ISOLATION-STAGE-2 -o br1'))).toHaveLength(
      2,
    );
    await ours.check(config, mine);
    await runOn(mine, 'DEL', config);
  });

  test('isolated: all but the host are kept out, or it is refused', async () => {
    const config = { type: 'firewall', ingressPolicy: 'isolated' };
    const one = await pod(undefined);
    const other = await pod(undefined, { last: 6 });
    const server = serveAddress(one.netns, 80);
    const filter = (value: string) =>
      inside(undefined, 'sysctl', '-w', `net.bridge.bridge-nf-call-iptables=${value}`);
    try {
      expect(await ask(other.netns, '10.66.1.5', 80)).toBe('10.66.1.6');
      filter('0');
      await expect(runOn(one, 'ADD', config)).rejects.toThrow('has no effect while');
      filter('1');
      for (const target of [one, other]) await runOn(target, 'ADD', config);
      await expect(ask(other.netns, '10.66.1.5', 80, 500)).rejects.toThrow('no answer');
      await expect(ask(other.netns, 'fd66:1::5', 80, 500)).rejects.toThrow('no answer');
      expect(await ask(ownHost(), '10.66.1.5', 80)).toBe('10.66.1.1');
    } finally {
      filter('1');
      server.close();
    }
  });

  test('same-bridge: makes and leaves the rules of the reference', async () => {
    const config = { type: 'firewall', backend: 'iptables', ingressPolicy: 'same-bridge' };
    const [theirs, mine] = await twins();
    for (const target of [theirs, mine]) await runOn(target, 'ADD', config);
    expect(filterRules(undefined)).toEqual(filterRules(theirs.host));
    for (const target of [theirs, mine]) await runOn(target, 'DEL', config);
    expect(filterRules(undefined)).toEqual(filterRules(theirs.host));
  });

  test.each([
    ['unknown ingress policy', { ingressPolicy: 'x' }],
    ['backend must be', { backend: 'ufw' }],
    ['no name of a chain', { iptablesAdminChainName: 'A -j DROP' }],
  ])('refuses a configuration: %s', async (message, more) => {
    await expect(runOn(await pod(undefined), 'ADD', { type: 'firewall', ...more })).rejects.toThrow(
      message,
    );
  });
});

describe('sbr', () => {
  const rules = (at: string) => ['-4', '-6'].map((family) => inside(at, 'ip', family, 'rule'));
  const table = (at: string, number: number) =>
    ['-4', '-6'].map((family) =>
      inside(at, 'sh', '-c', `ip ${family} route show table ${number} 2>/dev/null | sort`),
    );

  test('leads the second interface by a table of its own, like the reference', async () => {
    const [theirs, mine] = await twins();
    const seconds: Pod[] = [];
    for (const first of [theirs, mine]) {
      seconds.push(
        await pod(first.host, { ...first, ifname: 'net1', net: 2 }).catch(async () => {
          throw new Error('second interface');
        }),
      );
    }
    for (const target of seconds) await runOn(target, 'ADD', { type: 'sbr' });
    const [theirSecond, mySecond] = seconds as [Pod, Pod];
    expect(rules(mySecond.netns)).toEqual(rules(theirSecond.netns));
    expect(table(mySecond.netns, 100)[0]).toEqual(table(theirSecond.netns, 100)[0]);
    expect(table(mySecond.netns, 101)).toEqual(table(theirSecond.netns, 101));
    expect(table(mySecond.netns, 254)).toEqual(table(theirSecond.netns, 254));
    await ours.check({ type: 'sbr' }, mySecond);
    for (const target of seconds) await runOn(target, 'DEL', { type: 'sbr' });
    await runOn(mySecond, 'DEL', { type: 'sbr' });
    expect(rules(mySecond.netns)).toEqual(rules(theirSecond.netns));
    await expect(ours.check({ type: 'sbr' }, mySecond)).rejects.toThrow('no rule');
  });

  test('table, gateways and source hints', async () => {
    const mine = await pod(undefined);
    await runOn(mine, 'ADD', { type: 'sbr', table: 77 });
    expect(rules(mine.netns)[0]).toContain('from 10.66.1.5 lookup 77');
    expect(table(mine.netns, 254)[0]).toContain('default via');
    await runOn(mine, 'DEL', { type: 'sbr', table: 77 });
    await runOn(mine, 'ADD', { type: 'sbr', gateways: ['10.66.1.9'], addSourceHints: true });
    expect(table(mine.netns, 100)[0]).toContain('default via 10.66.1.9 dev eth0 src 10.66.1.5');
    await expect(
      runOn(mine, 'ADD', { type: 'sbr', gateways: ['10.0.0.1', '10.0.0.2'] }),
    ).rejects.toThrow('one address of each family');
  });
});

describe('host-device', () => {
  const address = { type: 'static', addresses: [{ address: '10.77.0.5/24' }] };

  test('moves a device in and out, like the reference', async () => {
    const host = bench.host();
    for (const at of [host, undefined]) {
      inside(
        at,
        'ip',
        'link',
        'add',
        'dev7',
        'address',
        '02:00:00:00:07:07',
        'type',
        'veth',
        'peer',
        'name',
        'peer7',
      );
      inside(at, 'ip', 'link', 'set', 'dev7', 'up');
    }
    const config = { type: 'host-device', device: 'dev7', ipam: address };
    const containerId = newContainerId();
    const theirs = { containerId, netns: bench.namespace() };
    const mine = { containerId, netns: bench.namespace() };
    const expected = runReference(host, 'ADD', config, theirs);
    const result = await ours.add(config, mine);
    expect(comparable(result)).toEqual(comparable(expected));
    expect(networkOf(mine.netns)).toEqual(networkOf(theirs.netns));
    await ours.check(config, { ...mine, prevResult: result });
    runReference(host, 'DEL', config, theirs);
    await ours.del(config, mine);
    await ours.del(config, mine);
    expect(inside(undefined, 'ip', '-br', 'link', 'show', 'dev7')).toContain('DOWN');
    expect(networkOf(mine.netns)).toEqual(networkOf(theirs.netns));
    const byMac = await ours.add({ type: 'host-device', hwaddr: '02:00:00:00:07:07' }, mine);
    expect(byMac['interfaces'][0]).toMatchObject({ name: 'eth0', mac: '02:00:00:00:07:07' });
    await ours.del(config, mine);
  });

  test('a device is renamed on its way, whatever has its name in the container', async () => {
    const mine = { containerId: newContainerId(), netns: bench.namespace(), ifname: 'net1' };
    const config = { type: 'host-device', device: 'dev6' };
    for (const [at, peer] of [[undefined, 'peer6'] as const, [mine.netns, 'other6'] as const]) {
      inside(at, 'ip', 'link', 'add', 'dev6', 'type', 'veth', 'peer', 'name', peer);
    }
    await ours.add(config, mine);
    for (const name of ['net1@', 'dev6@other6']) {
      expect(inside(mine.netns, 'ip', 'link')).toContain(name);
    }
    await ours.del(config, mine);
    expect(inside(undefined, 'ip', 'link')).toContain('dev6@peer6');
    expect(inside(mine.netns, 'ip', 'link')).toContain('dev6@other6');
  });

  test('a name that is taken leaves the device where it is', async () => {
    inside(undefined, 'ip', 'link', 'add', 'dev8', 'type', 'veth', 'peer', 'name', 'peer8');
    const mine = { containerId: newContainerId(), netns: bench.namespace() };
    const config = { type: 'host-device', device: 'dev8' };
    inside(mine.netns, 'ip', 'link', 'add', 'eth0', 'type', 'bridge');
    await expect(ours.add(config, mine)).rejects.toThrow('already exists');
    expect(inside(undefined, 'ip', 'link')).toContain('dev8');
    inside(mine.netns, 'ip', 'link', 'del', 'eth0');
    await ours.add(config, mine);
    inside(undefined, 'ip', 'link', 'add', 'dev8', 'type', 'bridge');
    await expect(ours.del(config, mine)).rejects.toThrow('the host has another "dev8"');
    expect(inside(mine.netns, 'ip', 'link', 'show', 'eth0')).toContain('UP');
    inside(undefined, 'ip', 'link', 'del', 'dev8');
    await ours.del(config, mine);
    expect(inside(undefined, 'ip', 'link')).toContain('dev8');
  });

  test.each([
    ['specify either', {}],
    ['Cannot find the host device', { device: 'nosuch0' }],
    ['Cannot find the host device', { pciBusID: '0000:ff:1f.7' }],
    ['must begin with /sys/devices/', { kernelpath: '/sys/devices/../../etc' }],
    ['no PCI address', { pciBusID: '../x' }],
  ])('refuses a configuration: %s', async (message, more) => {
    const options = { containerId: newContainerId(), netns: bench.namespace() };
    await expect(ours.add({ type: 'host-device', ...more }, options)).rejects.toThrow(message);
  });
});

test('vrf: without kernel support it fails clearly, and DEL succeeds', async () => {
  const mine = await pod(undefined);
  const config = { type: 'vrf', vrfname: 'blue' };
  await expect(runOn(mine, 'ADD', config)).rejects.toThrow(/Cannot create vrf "blue"/);
  await runOn(mine, 'DEL', config);
  await expect(runOn(mine, 'ADD', { type: 'vrf' })).rejects.toThrow('"vrfname" is missing');
});

describe('flannel', () => {
  const dataDir = () => bench.path('flannel');
  const file = () => join(bench.directory, 'subnet.env');
  const config = (more: object = {}): Config => ({
    type: 'flannel',
    subnetFile: file(),
    dataDir: dataDir(),
    ipam: { dataDir: bench.path('flannel-ips'), routes: [{ dst: '192.0.2.0/24' }] },
    delegate: { bridge: 'fl0', hairpinMode: true },
    ...more,
  });
  const write = (text: string) => {
    mkdirSync(bench.directory, { recursive: true });
    writeFileSync(file(), text);
  };
  const whole =
    'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_IPV6_NETWORK=fd44::/48\nFLANNEL_IPV6_SUBNET=fd44:0:0:3::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n';

  test('delegates to the bridge with the subnet of the node, and DEL uses what ADD used', async () => {
    write(whole);
    const mine = { containerId: newContainerId(), netns: bench.namespace() };
    const result = await ours.add(config(), mine);
    expect(result['ips'].map((ip: { address: string }) => ip.address)).toEqual([
      '10.244.3.2/24',
      'fd44:0:0:3::2/64',
    ]);
    expect(result['routes']).toEqual([
      { dst: '192.0.2.0/24' },
      { dst: '10.244.0.0/16' },
      { dst: 'fd44::/48' },
    ]);
    expect(inside(undefined, 'ip', 'addr', 'show', 'fl0')).toContain('10.244.3.1/24');
    expect(inside(mine.netns, 'ip', 'link', 'show', 'eth0')).toContain('mtu 1450');
    expect(inside(undefined, 'nft', 'list', 'ruleset')).toContain('10.244.3.2');
    await ours.check(config(), { ...mine, prevResult: result });
    await ours.run('STATUS', config());
    write('nonsense');
    await ours.del(config(), mine);
    await ours.del(config(), mine);
    expect(inside(mine.netns, 'ip', 'link')).not.toContain('eth0');
    expect(inside(undefined, 'nft', 'list', 'ruleset')).not.toContain('10.244.3.2');
    expect(readdirSync(dataDir())).toEqual([]);
    await expect(ours.run('STATUS', config())).rejects.toMatchObject({ cniCode: 50 });
  });

  test.each([
    ['is missing FLANNEL_MTU, FLANNEL_IPMASQ', 'FLANNEL_SUBNET=10.244.3.1/24\n', {}],
    ['holds "x"', whole.replace('10.244.0.0/16', 'x'), {}],
    ['must not have "ipam"', whole, { delegate: { ipam: {} } }],
    ['must not have "name"', whole, { delegate: { name: 'x' } }],
  ])('refuses: %s', async (message, text, more) => {
    write(text);
    const mine = { containerId: newContainerId(), netns: bench.namespace() };
    await expect(ours.add(config(more), mine)).rejects.toThrow(message);
  });
});

test.each(['tuning', 'bandwidth', 'firewall', 'sbr', 'vrf', 'portmap'])(
  '%s must be chained',
  async (type) => {
    const more = { vrfname: 'x', ingressRate: 800, ingressBurst: 800 };
    const options = { containerId: newContainerId(), netns: bench.namespace() };
    await expect(ours.add({ type, ...more }, options)).rejects.toMatchObject({ cniCode: 7 });
  },
);
