import { readdirSync } from 'node:fs';
import { join } from 'node:path';
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

let number = 0;

function config(more: object = {}, ipam: object = {}): Config {
  return {
    type: 'bridge',
    bridge: `br${number}`,
    ipam: {
      type: 'host-local',
      dataDir: bench.path(`store-${number}`),
      ranges: [[{ subnet: `10.${number}.0.0/16` }], [{ subnet: `fd00:${number}::/64` }]],
      ...('noRoutes' in more ? {} : { routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }] }),
      ...ipam,
    },
    ...more,
  };
}

/** The configuration for the reference: its addresses are kept apart. */
function forReference(one: Config): Config {
  const ipam = one['ipam'] as object | undefined;
  return ipam === undefined
    ? one
    : { ...one, ipam: { ...ipam, dataDir: bench.path(`reference-${number}`) } };
}

const stored = () =>
  readdirSync(join(bench.path(`store-${number}`), 'testnet')).filter((name) =>
    /^(10|fd)/.test(name),
  );

describe('does what the reference does', () => {
  const cases: [string, (n: number) => object][] = [
    ['isGateway', () => ({ isGateway: true })],
    ['isDefaultGateway', () => ({ isDefaultGateway: true, noRoutes: true })],
    ['no gateway', () => ({})],
    ['mtu and hairpin', () => ({ isGateway: true, mtu: 1400, hairpinMode: true })],
    ['promiscuous', () => ({ isGateway: true, promiscMode: true })],
    ['hardware address', () => ({ isGateway: true, runtimeConfig: { mac: '02:00:00:00:00:aa' } })],
    [
      'dns',
      () => ({ isGateway: true, dns: { nameservers: ['192.0.2.1'], search: ['a.example'] } }),
    ],
    ['ipMasq by iptables', () => ({ isGateway: true, ipMasq: true, ipMasqBackend: 'iptables' })],
    ['without IPAM', () => ({ ipam: {} })],
  ];

  test.each(cases)('%s', async (_, more) => {
    number++;
    const one = config(more(number));
    const containerId = newContainerId();
    const host = bench.host();
    const theirs: CallOptions = { containerId, netns: bench.namespace() };
    const mine: CallOptions = { containerId, netns: bench.namespace() };
    const expected = runReference(host, 'ADD', forReference(one), theirs);
    const result = await ours.add(one, mine);

    expect(comparable(result)).toEqual(comparable(expected));
    expect(networkOf(mine.netns)).toEqual(networkOf(theirs.netns));
    expect(linksOf(undefined)).toEqual(linksOf(host));
    for (const save of ['iptables-save', 'ip6tables-save']) {
      expect(rulesOf(undefined, save)).toEqual(rulesOf(host, save));
    }
    for (const sysctl of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding']) {
      if (inside(host, 'sysctl', '-n', sysctl).trim() === '1') {
        expect(inside(undefined, 'sysctl', '-n', sysctl).trim()).toBe('1');
      }
    }

    if (one['ipam'] !== undefined && Object.keys(one['ipam'] as object).length > 0) {
      await ours.check(one, { ...mine, prevResult: result });
    }
    await ours.del(one, { ...mine, prevResult: result });
    await ours.del(one, mine);
    runReference(host, 'DEL', forReference(one), { ...theirs, prevResult: expected });
    expect(networkOf(mine.netns)).toEqual(networkOf(theirs.netns));
    for (const save of ['iptables-save', 'ip6tables-save']) {
      expect(rulesOf(undefined, save)).toEqual(rulesOf(host, save));
    }
  });
});

/** Bridges and veths of a host with their addresses; other hosts' bridges do not count. */
function linksOf(netns: string | undefined): unknown {
  const links = (networkOf(netns)['addresses'] as { ifname: string }[]).filter(({ ifname }) =>
    /^(br|veth)/.test(ifname),
  );
  return links;
}

function rulesOf(netns: string | undefined, save: string): string[] {
  return inside(netns, save, '-t', 'nat')
    .split('\n')
    .filter((line) => line.startsWith('-A'));
}

describe('traffic', () => {
  test('flows between pods, to the host, and out masqueraded, dual stack', async () => {
    number++;
    const one = config({ isGateway: true, ipMasq: true });
    const [a, b] = [bench.namespace(), bench.namespace()];
    const [idA, idB] = [newContainerId(), newContainerId()];
    await ours.add(one, { containerId: idA, netns: a });
    const resultB = await ours.add(one, { containerId: idB, netns: b });

    // Another machine, reached by a link of the host, that knows no route to the pods.
    const outside = bench.host();
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
      outside,
    );
    inside(undefined, 'ip', 'addr', 'add', '192.0.2.1/24', 'dev', 'up0');
    inside(undefined, 'ip', '-6', 'addr', 'add', '2001:db8::1/64', 'dev', 'up0', 'nodad');
    inside(undefined, 'ip', 'link', 'set', 'up0', 'up');
    inside(outside, 'ip', 'addr', 'add', '192.0.2.2/24', 'dev', 'eth0');
    inside(outside, 'ip', '-6', 'addr', 'add', '2001:db8::2/64', 'dev', 'eth0', 'nodad');
    inside(outside, 'ip', 'link', 'set', 'eth0', 'up');

    const servers = [serveAddress(a, 80), serveAddress(outside, 80), serveAddress(ownHost(), 80)];
    try {
      expect(await ask(b, `10.${number}.0.2`, 80)).toBe(`10.${number}.0.3`);
      expect(await ask(b, `fd00:${number}::2`, 80)).toBe(`fd00:${number}::3`);
      expect(await ask(ownHost(), `10.${number}.0.2`, 80)).toBe(`10.${number}.0.1`);
      expect(await ask(b, `10.${number}.0.1`, 80)).toBe(`10.${number}.0.3`);
      expect(await ask(b, '192.0.2.2', 80)).toBe('192.0.2.1');
      expect(await ask(b, '2001:db8::2', 80)).toBe('2001:db8::1');
    } finally {
      for (const server of servers) server.close();
    }

    await ours.check(one, { containerId: idB, netns: b, prevResult: resultB });
    await ours.del(one, { containerId: idB, netns: b, prevResult: resultB });
    expect(inside(undefined, 'nft', 'list', 'ruleset')).toContain(`10.${number}.0.2`);
    expect(inside(undefined, 'nft', 'list', 'ruleset')).not.toContain(`10.${number}.0.3`);
    await ours.del(one, { containerId: idA, netns: a });
    const rules = inside(undefined, 'nft', 'list', 'ruleset');
    expect(rules).not.toMatch(/elements/);
    expect(stored()).toEqual([]);
    expect(inside(undefined, 'ip', 'link')).not.toContain('veth');
  });

  test('isolated ports do not reach one another', async () => {
    number++;
    const one = config({ isGateway: true, portIsolation: true });
    const [a, b] = [bench.namespace(), bench.namespace()];
    const [idA, idB] = [newContainerId(), newContainerId()];
    await ours.add(one, { containerId: idA, netns: a });
    await ours.add(one, { containerId: idB, netns: b });
    const ping = (address: string) =>
      inside(
        b,
        'sh',
        '-c',
        `busybox ping -c1 -W1 ${address} >/dev/null && echo yes || echo no`,
      ).trim();
    expect(ping(`10.${number}.0.1`)).toBe('yes');
    expect(ping(`10.${number}.0.2`)).toBe('no');
    await ours.del(one, { containerId: idA, netns: a });
    await ours.del(one, { containerId: idB, netns: b });
  });

  test('a pod with another hardware address is cut off by macspoofchk, like by the reference', async () => {
    number++;
    const one = config({ isGateway: true, macspoofchk: true });
    const containerId = newContainerId();
    const netns = bench.namespace();
    const host = bench.host();
    const theirs = bench.namespace();
    runReference(host, 'ADD', forReference(one), { containerId, netns: theirs });
    await ours.add(one, { containerId, netns });
    const table = (at: string | undefined) =>
      inside(at, 'nft', 'list', 'table', 'bridge', 'nat')
        .replaceAll(/veth[0-9a-f]{8}/g, 'veth*')
        .replaceAll(/([0-9a-f]{2}:){5}[0-9a-f]{2}/g, 'mac');
    expect(table(undefined)).toBe(table(host));
    const ping = () =>
      inside(
        netns,
        'sh',
        '-c',
        `busybox ping -c1 -W1 10.${number}.0.1 >/dev/null && echo yes || echo no`,
      ).trim();
    expect(ping()).toBe('yes');
    inside(netns, 'ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:00:99');
    expect(ping()).toBe('no');
    await ours.del(one, { containerId, netns });
    await ours.del(one, { containerId, netns });
    runReference(host, 'DEL', forReference(one), { containerId, netns: theirs });
    expect(table(undefined)).toBe(table(host));
  });
});

describe('life', () => {
  test('DEL cleans up when the namespace is gone, without a result, twice', async () => {
    number++;
    const one = config({ isGateway: true, ipMasq: true });
    const containerId = newContainerId();
    const netns = bench.namespace();
    await ours.add(one, { containerId, netns });
    await bench.forget(netns);
    await ours.del(one, { containerId, netns });
    await ours.del(one, { containerId, netns: '' });
    expect(stored()).toEqual([]);
    expect(inside(undefined, 'nft', 'list', 'ruleset')).not.toContain(`10.${number}.0.2`);
  });

  test('disableContainerInterface leaves the interface down, and the port in place', async () => {
    number++;
    const one = config({ ipam: {}, disableContainerInterface: true });
    const options = { containerId: newContainerId(), netns: bench.namespace() };
    const result = await ours.add(one, options);
    const [link] = JSON.parse(inside(options.netns, 'ip', '-json', 'link', 'show', 'eth0'));
    expect(link.flags).not.toContain('UP');
    expect(result['ips'] ?? []).toEqual([]);
    const [port] = JSON.parse(
      inside(undefined, 'ip', '-json', 'link', 'show', result['interfaces'][1].name),
    );
    expect(port.master).toBe(`br${number}`);
    await ours.del(one, options);
    expect(inside(undefined, 'ip', 'link')).not.toContain('veth');
  });

  test('enabledad has the kernel look for duplicates of IPv6 addresses', async () => {
    number++;
    const options = { containerId: newContainerId(), netns: bench.namespace() };
    const detection = async (more: object) => {
      await ours.add(config(more), options);
      const value = inside(options.netns, 'sysctl', '-n', 'net.ipv6.conf.eth0.accept_dad').trim();
      await ours.del(config(more), options);
      return value;
    };
    expect([await detection({}), await detection({ enabledad: true })]).toEqual(['0', '1']);
  });

  test('a failed ADD gives the addresses back', async () => {
    number++;
    const one = config(
      { isGateway: true },
      { routes: [{ dst: '192.0.2.0/24', gw: '203.0.113.1' }] },
    );
    const containerId = newContainerId();
    const netns = bench.namespace();
    await expect(ours.add(one, { containerId, netns })).rejects.toThrow(
      /add route 192.0.2.0\/24 via 203.0.113.1.*ENETUNREACH/,
    );
    expect(stored()).toEqual([]);
    await ours.del(one, { containerId, netns });
    expect(inside(undefined, 'ip', 'link')).not.toContain('veth');
  });

  test('an interface name that is taken is an error, and the interface stays', async () => {
    number++;
    const one = config({});
    const netns = bench.namespace();
    await ours.add(one, { containerId: newContainerId(), netns });
    await expect(ours.add(one, { containerId: newContainerId(), netns })).rejects.toThrow(
      '"eth0" (peer "veth',
    );
    expect(stored()).toHaveLength(2);
    expect(inside(netns, 'ip', 'addr')).toContain(`10.${number}.0.2/16`);
  });

  test('another address of the bridge is an error, or goes when that is forced', async () => {
    number++;
    const one = config({ isGateway: true, bridge: `br${number}` });
    inside(undefined, 'ip', 'link', 'add', `br${number}`, 'type', 'bridge');
    inside(undefined, 'ip', 'addr', 'add', '203.0.113.7/24', 'dev', `br${number}`);
    const containerId = newContainerId();
    const netns = bench.namespace();
    await expect(ours.add(one, { containerId, netns })).rejects.toThrow(
      'already has an IP address',
    );
    await ours.del(one, { containerId, netns });
    await ours.add({ ...one, forceAddress: true }, { containerId, netns });
    const addresses = inside(undefined, 'ip', 'addr', 'show', `br${number}`);
    expect(addresses).toContain(`10.${number}.0.1/16`);
    expect(addresses).not.toContain('203.0.113.7');
    await ours.del(one, { containerId, netns });
  });

  test('GC forgets attachments that are not valid', async () => {
    number++;
    const one = config({ isGateway: true, ipMasq: true });
    const kept = { containerId: newContainerId(), netns: bench.namespace() };
    const lost = { containerId: newContainerId(), netns: bench.namespace() };
    await ours.add(one, kept);
    await ours.add(one, lost);
    await ours.run('GC', {
      ...one,
      'cni.dev/valid-attachments': [{ containerID: kept.containerId, ifname: 'eth0' }],
    });
    expect(stored()).toEqual([`10.${number}.0.2`, `fd00:${number}::2`]);
    const rules = inside(undefined, 'nft', 'list', 'ruleset');
    expect(rules).toContain(`10.${number}.0.2`);
    expect(rules).not.toContain(`10.${number}.0.3`);
    await ours.del(one, kept);
    await ours.del(one, lost);
  });

  test('an address that changes hands keeps the newer masquerading', async () => {
    number++;
    const one = config(
      { isGateway: true, ipMasq: true },
      { ranges: [[{ subnet: `10.${number}.0.0/30` }]] },
    );
    const first = { containerId: newContainerId(), netns: bench.namespace() };
    const second = { containerId: newContainerId(), netns: bench.namespace() };
    await ours.add(one, first);
    await ours.run('DEL', { ...(one['ipam'] as object), ...one, type: 'host-local' }, first);
    await ours.add(one, second);
    await ours.del(one, first);
    expect(inside(undefined, 'nft', 'list', 'ruleset')).toContain(second.containerId);
    await ours.del(one, second);
    expect(inside(undefined, 'nft', 'list', 'ruleset')).not.toContain(`10.${number}.0.2`);
  });

  test.each([
    ['vlan', { vlan: 5000 }],
    ['same time', { vlan: 5, vlanTrunk: [{ id: 7 }] }],
    ['same time', { hairpinMode: true, promiscMode: true }],
    ['set together', { vlanTrunk: [{ minID: 7 }] }],
    ['MAC address', { runtimeConfig: { mac: 'xx' } }],
    ['ipMasqBackend', { ipMasq: true, ipMasqBackend: 'ebtables' }],
    ['true or false', { isGateway: 'yes' }],
    ['disableContainerInterface', { disableContainerInterface: true }],
  ])('refuses a configuration: %s', async (message, more) => {
    number++;
    const netns = bench.namespace();
    await expect(ours.add(config(more), { containerId: 'c', netns })).rejects.toMatchObject({
      cniCode: 7,
      message: expect.stringContaining(message),
    });
    await ours.del(config(), { containerId: 'c', netns });
  });

  test('refuses a namespace that is none, and a bridge that is none', async () => {
    number++;
    const containerId = newContainerId();
    await expect(ours.add(config(), { containerId, netns: bench.path('x') })).rejects.toMatchObject(
      { cniCode: 8 },
    );
    const netns = bench.namespace();
    await expect(ours.add(config({ bridge: 'lo' }), { containerId, netns })).rejects.toThrow(
      'not a bridge',
    );
  });
});
