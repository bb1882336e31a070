import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  ask,
  Bench,
  BuiltIn,
  type CallOptions,
  type Config,
  clearOwnHost,
  comparable,
  enterOwnHost,
  inside,
  networkOf,
  newContainerId,
  ownHost,
  runReference,
  serveAddress,
} from './plugin-harness.ts';

const bench = new Bench();
const ours = new BuiltIn();

beforeAll(() => enterOwnHost());
afterEach(() => clearOwnHost());
afterAll(() => bench.close());

let number = 100;

function ipam(more: object = {}): object {
  return {
    type: 'static',
    addresses: [
      { address: `10.${number}.0.5/24`, gateway: `10.${number}.0.1` },
      { address: `fd00:${number}::5/64`, gateway: `fd00:${number}::1` },
    ],
    routes: [
      { dst: '0.0.0.0/0' },
      { dst: '::/0' },
      { dst: '192.0.2.0/24', gw: `10.${number}.0.9` },
    ],
    dns: { nameservers: ['192.0.2.53'] },
    ...more,
  };
}

/** Gives a host a link `up0` whose other end is elsewhere, with a default route. */
function uplink(host: string | undefined): string {
  const far = bench.host();
  inside(host, 'ip', 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', far);
  inside(host, 'ip', 'addr', 'add', `10.${number}.0.1/24`, 'dev', 'up0');
  inside(host, 'ip', '-6', 'addr', 'add', `fd00:${number}::1/64`, 'dev', 'up0', 'nodad');
  inside(host, 'ip', 'link', 'set', 'up0', 'up');
  inside(host, 'ip', 'route', 'add', 'default', 'via', `10.${number}.0.254`);
  inside(far, 'ip', 'addr', 'add', `10.${number}.0.254/24`, 'dev', 'eth0');
  inside(far, 'ip', 'link', 'set', 'eth0', 'up');
  return far;
}

/** What a host has by itself of IPv6 depends on whether it forwards, and comes late. */
function stable(host: string | undefined): unknown {
  const { routes6: _, ...rest } = networkOf(host);
  return rest;
}

describe('does what the reference does', () => {
  const address = ipam;
  const cases: [string, () => Config][] = [
    ['ptp', () => ({ type: 'ptp', mtu: 1400, ipam: address() })],
    [
      'ptp with ipMasq',
      () => ({
        type: 'ptp',
        ipMasq: true,
        ipMasqBackend: 'iptables',
        dns: { search: ['x.example'] },
        ipam: address(),
      }),
    ],
    ['macvlan on the default route', () => ({ type: 'macvlan', ipam: address() })],
    [
      'macvlan with all settings',
      () => ({
        type: 'macvlan',
        master: 'up0',
        mode: 'private',
        mtu: 1300,
        dns: { domain: 'x.example' },
        runtimeConfig: { mac: '02:00:00:00:00:07' },
        ipam: address(),
      }),
    ],
    [
      'macvlan alone on its parent',
      () => ({ type: 'macvlan', master: 'up0', mode: 'passthru', ipam: address() }),
    ],
    ['macvlan without IPAM', () => ({ type: 'macvlan', master: 'up0', mode: 'vepa' })],
  ];

  test.each(cases)('%s', async (_, make) => {
    number++;
    const config = make();
    const containerId = newContainerId();
    const host = bench.host();
    uplink(host);
    uplink(undefined);
    const theirs: CallOptions = { containerId, netns: bench.namespace() };
    const mine: CallOptions = { containerId, netns: bench.namespace() };
    const expected = runReference(host, 'ADD', config, theirs);
    const result = await ours.add(config, mine);
    expect(comparable(result)).toEqual(comparable(expected));
    expect(networkOf(mine.netns)).toEqual(networkOf(theirs.netns));
    expect(stable(undefined)).toEqual(stable(host));
    for (const save of ['iptables-save', 'ip6tables-save']) {
      const rules = (at: string | undefined) =>
        inside(at, save, '-t', 'nat')
          .split('\n')
          .filter((line) => line.startsWith('-A'));
      expect(rules(undefined)).toEqual(rules(host));
    }
    await ours.check(config, { ...mine, prevResult: result });
    runReference(host, 'DEL', config, { ...theirs, prevResult: expected });
    await ours.del(config, { ...mine, prevResult: result });
    await ours.del(config, mine);
    await bench.forget(mine.netns ?? '');
    await ours.del(config, mine);
    await expect(ours.check(config, { ...mine, prevResult: result })).rejects.toThrow();
    expect(stable(undefined)).toEqual(stable(host));
  });

  test('loopback', async () => {
    const containerId = newContainerId();
    const theirs = { containerId, netns: bench.namespace(), ifname: 'lo' };
    const mine = { containerId, netns: bench.namespace(), ifname: 'lo' };
    const config = { type: 'loopback' };
    const expected = runReference(bench.host(), 'ADD', config, theirs);
    expect(comparable(await ours.add(config, mine))).toEqual(comparable(expected));
    expect(networkOf(mine.netns)).toEqual(networkOf(theirs.netns));
    await ours.check(config, mine);
    const prevResult = { interfaces: [{ name: 'x' }], dns: {} };
    expect(await ours.add(config, { ...mine, prevResult })).toMatchObject(prevResult);
    await ours.del(config, mine);
    await expect(ours.check(config, mine)).rejects.toThrow('down');
    await bench.forget(mine.netns);
    await ours.del(config, mine);
  });

  test.each([
    ['configured', {}, ''],
    [
      'in capitals, with zeros',
      { ipam: ipam({ routes: [{ dst: '0::/0', gw: 'FD00::0:1' }] }) },
      '',
    ],
    ['CNI_ARGS', {}, 'IP=10.9.0.7/24,fd09::7/64;GATEWAY=10.9.0.1;IgnoreUnknown=1;X=y'],
    ['args', { args: { cni: { ips: ['10.8.0.7/24'] } } }, 'GATEWAY=10.8.0.1'],
    ['runtimeConfig', { RuntimeConfig: { ips: ['10.7.0.7/24', 'fd07::7/64'] } }, 'GATEWAY=fd07::1'],
  ])('static: %s', async (_, more, args) => {
    const config = { type: 'static', ipam: ipam(), ...more };
    const options = { containerId: newContainerId(), netns: bench.namespace(), args };
    const result = await ours.add(config, options);
    expect(result).toEqual(runReference(bench.host(), 'ADD', config, options));
    await ours.check(config, { ...options, prevResult: result });
    await ours.del(config, options);
  });
});

describe('traffic', () => {
  test('ptp: between pods, to the host, and out masqueraded', async () => {
    number++;
    const far = uplink(undefined);
    const config = (last: number) => ({
      type: 'ptp',
      ipMasq: true,
      ipam: {
        type: 'static',
        addresses: [{ address: `10.200.0.${last}/24`, gateway: '10.200.0.1' }],
        routes: [{ dst: '0.0.0.0/0' }],
      },
    });
    const pods = [2, 3].map((last) => ({
      containerId: newContainerId(),
      netns: bench.namespace(),
      last,
    }));
    for (const { last, ...options } of pods) await ours.add(config(last), options);
    const [a, b] = pods.map(({ netns }) => netns) as [string, string];
    const servers = [serveAddress(a, 80), serveAddress(ownHost(), 80), serveAddress(far, 80)];
    try {
      expect(await ask(b, '10.200.0.2', 80)).toBe('10.200.0.3');
      expect(await ask(b, '10.200.0.1', 80)).toBe('10.200.0.3');
      expect(await ask(b, `10.${number}.0.254`, 80)).toBe(`10.${number}.0.1`);
      expect(await ask(ownHost(), '10.200.0.2', 80)).toBe('10.200.0.1');
    } finally {
      for (const server of servers) server.close();
    }
    for (const { last, ...options } of pods) await ours.del(config(last), options);
    expect(inside(undefined, 'nft', 'list', 'ruleset')).not.toContain('10.200.0.2');
    expect(inside(undefined, 'ip', 'route')).not.toContain('10.200');
  });

  test('macvlan: between pods, and beyond the parent, in the container too', async () => {
    number++;
    const far = uplink(undefined);
    const address = (last: number) => ({
      type: 'static',
      addresses: [{ address: `10.${number}.0.${last}/24` }],
    });
    const pods = [5, 6].map((last) => ({
      containerId: newContainerId(),
      netns: bench.namespace(),
      last,
    }));
    for (const { last, ...options } of pods)
      await ours.add({ type: 'macvlan', master: 'up0', ipam: address(last) }, options);
    const [a, b] = pods.map(({ netns }) => netns) as [string, string];
    const inner = { type: 'macvlan', master: 'eth0', linkInContainer: true, ipam: address(7) };
    const second = { containerId: newContainerId(), netns: a, ifname: 'net1' };
    await ours.add(inner, second);
    expect(inside(a, 'ip', 'link')).toContain('net1@');
    const servers = [serveAddress(a, 80), serveAddress(far, 80)];
    try {
      expect(await ask(b, `10.${number}.0.5`, 80)).toBe(`10.${number}.0.6`);
      expect(await ask(b, `10.${number}.0.254`, 80)).toBe(`10.${number}.0.6`);
    } finally {
      for (const server of servers) server.close();
    }
  });
});

test('macvlan: the length of the queue of broadcasts', async () => {
  number++;
  uplink(undefined);
  const config = { type: 'macvlan', master: 'up0', bcqueuelen: 77 };
  const options = { containerId: newContainerId(), netns: bench.namespace() };
  await ours.add(config, options);
  const [link] = JSON.parse(inside(options.netns, 'ip', '-json', '-d', 'link', 'show', 'eth0'));
  expect(link.linkinfo.info_data.bcqueuelen).toBe(77);
  await ours.del(config, options);
});

test('tap: a device that stays, with owner, size and address', async () => {
  const options = { containerId: newContainerId(), netns: bench.namespace() };
  const config = {
    type: 'tap',
    mtu: 1300,
    owner: 54321,
    group: 0,
    multiQueue: true,
    mac: '02:00:00:00:00:09',
    ipam: { type: 'static', addresses: [{ address: '10.9.0.5/24' }] },
  };
  const result = await ours.add(config, options);
  const [link] = JSON.parse(inside(options.netns, 'ip', '-json', '-d', 'link', 'show', 'eth0'));
  expect(link).toMatchObject({
    mtu: 1300,
    address: '02:00:00:00:00:09',
    linkinfo: {
      info_kind: 'tun',
      info_data: {
        type: 'tap',
        vnet_hdr: true,
        multi_queue: true,
        persist: true,
        pi: false,
        user: 54321,
        group: 'root',
      },
    },
  });
  await ours.check(config, { ...options, prevResult: result });
  await ours.del(config, options);
  expect(inside(options.netns, 'ip', 'link')).not.toContain('eth0');
  inside(options.netns, 'ip', 'link', 'add', 'br0', 'type', 'bridge');
  await ours.add({ type: 'tap', bridge: 'br0' }, options);
  expect(inside(options.netns, 'ip', 'link', 'show', 'eth0')).toContain('master br0');
  await ours.del({ type: 'tap' }, options);
  await expect(ours.add({ type: 'tap', selinuxContext: 'x' }, options)).rejects.toMatchObject({
    cniCode: 2,
  });
});

test.each([
  ['holds "X"', 'IP=10.9.0.7/24;X=y;IgnoreUnknown=False'],
  ['IgnoreUnknown is "maybe"', 'IgnoreUnknown=maybe;X=y'],
  ['"none" is no pair', 'IgnoreUnknown=1;none'],
])('refuses CNI_ARGS: %s', async (message, args) => {
  const options = { containerId: newContainerId(), netns: '/absent', args };
  await expect(ours.add({ type: 'static', ipam: ipam() }, options)).rejects.toThrow(message);
});

test.each(['ipvlan', 'vlan', 'dummy'])(
  'a kernel without %s is said to be one, and nothing stays',
  async (type) => {
    number++;
    uplink(undefined);
    const options = { containerId: newContainerId(), netns: bench.namespace() };
    const ip = { type: 'host-local', dataDir: bench.path(`store-${type}`), subnet: '10.9.0.0/24' };
    const config = { type, master: 'up0', vlanId: 5, ipam: ip };
    const hasKind = inside(
      undefined,
      'sh',
      '-c',
      `ip link add probe0 type ${type === 'dummy' ? 'dummy' : `${type} link up0`} ${type === 'vlan' ? 'id 9' : ''} 2>/dev/null && echo yes || echo no`,
    ).trim();
    // A kernel that has it is tested elsewhere.
    if (hasKind === 'yes') return;
    await expect(ours.add(config, options)).rejects.toThrow(
      `this kernel has no links of kind ${type}`,
    );
    await ours.del(config, options);
    expect(inside(options.netns, 'ip', 'link')).not.toContain('eth0');
  },
);

test.each([
  ['needs an IPAM plugin', { type: 'ptp' }],
  ['needs an IPAM plugin', { type: 'vlan', master: 'up0' }],
  ['needs "master"', { type: 'vlan', ipam: ipam() }],
  ['vlanId', { type: 'vlan', master: 'up0', vlanId: 4095, ipam: ipam() }],
  ['unknown macvlan mode', { type: 'macvlan', master: 'up0', mode: 'x' }],
  ['unknown ipvlan mode', { type: 'ipvlan', master: 'up0', mode: 'x', ipam: ipam() }],
  ['invalid MTU', { type: 'macvlan', master: 'up0', mtu: 9000 }],
  ['MAC address', { type: 'macvlan', master: 'up0', mac: '1' }],
  ['prevResult lacks a single', { type: 'ipvlan', ipam: ipam() }],
])('refuses a configuration: %s', async (message, config) => {
  uplink(undefined);
  const options = {
    containerId: newContainerId(),
    netns: bench.namespace(),
    prevResult: { ips: [] },
  };
  await expect(ours.add(config, options)).rejects.toMatchObject({
    cniCode: 7,
    message: expect.stringContaining(message),
  });
});

test('a failed ADD leaves no link, and does not take one that was there', async () => {
  number++;
  uplink(undefined);
  const options = { containerId: newContainerId(), netns: bench.namespace() };
  const bad = ipam({ routes: [{ dst: '192.0.2.0/24', gw: '203.0.113.1' }] });
  await expect(ours.add({ type: 'macvlan', ipam: bad }, options)).rejects.toThrow('ENETUNREACH');
  expect(inside(options.netns, 'ip', 'link')).not.toContain('eth0');
  await ours.add({ type: 'macvlan', ipam: ipam() }, options);
  await expect(ours.add({ type: 'macvlan', ipam: bad }, options)).rejects.toThrow('already exists');
  expect(inside(options.netns, 'ip', 'link')).toContain('eth0');
});
