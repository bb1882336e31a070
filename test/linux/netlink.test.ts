import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { formatCidr, parseCidr, parseIp } from '../../src/base/index.ts';
import {
  AF,
  addAddress,
  addChain,
  addElement,
  addMap,
  addRoute,
  addRule,
  addTable,
  appendRule,
  changeLink,
  createLink,
  createPinnedNamespace,
  createTap,
  decide,
  decodeElements,
  decodeGeneration,
  deleteChain,
  deleteElement,
  deleteLink,
  formatMac,
  getElement,
  getGeneration,
  listElements,
  matchAddress,
  matchInputInterface,
  matchSourceMac,
  NetworkNamespace,
  NFPROTO,
  parseMac,
  removePinnedNamespace,
} from '../../src/linux/index.ts';

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keelson-netlink-'));
  path = join(directory, 'ns');
  createPinnedNamespace('net', path);
});

afterEach(async () => {
  await removePinnedNamespace(path);
  rmSync(directory, { recursive: true, force: true });
});

const inside = (...command: string[]) =>
  execFileSync('nsenter', [`--net=${path}`, ...command], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
const json = (...args: string[]) => JSON.parse(inside('ip', '-json', '-d', ...args));

describe('rtnetlink', () => {
  test('links are as ip(8) shows them', async () => {
    using pod = NetworkNamespace.open(path);
    const mac = parseMac('02:00:00:00:00:01')!;
    await pod.change(
      createLink({ name: 'br0', kind: { type: 'bridge' }, up: true }),
      createLink({ name: 'v0', kind: { type: 'veth', peer: { name: 'v1', mac } }, mtu: 1400 }),
      createLink({ name: 'i0', kind: { type: 'ifb' }, txQueueLength: 17 }),
    );
    const bridge = await pod.link('br0');
    const veth = await pod.link('v0');
    await pod.change(
      changeLink(veth.index, {
        master: bridge.index,
        up: true,
        promiscuous: true,
        alias: 'was eth7',
      }),
      createLink({
        name: 'm0',
        kind: { type: 'macvlan', mode: 'private' },
        parent: (await pod.link('v1')).index,
      }),
    );
    pod.inside(() => createTap('t0', { owner: 7 }));
    const shown = json('link') as Record<string, unknown>[];
    const links = await pod.links();
    expect(links.map(({ name }) => name)).toEqual(shown.map((one) => one['ifname']));
    for (const [i, link] of links.entries()) {
      const one = shown[i] as Record<string, never>;
      expect([link.index, link.mtu, link.txQueueLength, link.alias]).toEqual([
        one['ifindex'],
        one['mtu'],
        one['txqlen'] ?? 0,
        one['ifalias'],
      ]);
      expect(formatMac(link.mac)).toBe(one['address']);
      expect(link.kind).toBe((one['linkinfo'] as { info_kind?: string } | undefined)?.info_kind);
      expect(link.operationalState.toUpperCase()).toBe(one['operstate']);
      expect(link.up).toBe((one['flags'] as unknown as string[]).includes('UP'));
    }
    expect(await pod.link('v0')).toMatchObject({ master: bridge.index, promiscuous: true });
    await pod.change(deleteLink('v0'));
    expect(await pod.findLink('v1')).toBeUndefined();
  });

  test('addresses, routes and rules are as ip(8) shows them', async () => {
    using pod = NetworkNamespace.open(path);
    await pod.change(createLink({ name: 'v0', kind: { type: 'veth', peer: { name: 'v1' } } }));
    const { index } = await pod.link('v0');
    pod.writeSysctls({ 'net/ipv6/conf/v0/accept_dad': '0' });
    await pod.change(
      changeLink(index, { up: true }),
      addAddress(index, parseCidr('10.1.2.3/16')!),
      addAddress(index, parseCidr('fd00::3/64')!),
      addRoute({
        destination: parseCidr('0.0.0.0/0')!,
        gateway: parseIp('10.1.0.1')!,
        link: index,
      }),
      addRoute({
        destination: parseCidr('192.0.2.0/24')!,
        link: index,
        table: 1000,
        mtu: 1300,
        scope: 253,
      }),
      addRule({ source: parseCidr('10.1.2.3/32')!, table: 1000 }),
    );
    expect(
      (await pod.addresses(index))
        .map(({ cidr }) => formatCidr(cidr))
        .filter((one) => !one.startsWith('fe80')),
    ).toEqual(['10.1.2.3/16', 'fd00::3/64']);
    expect(json('-4', 'addr', 'show', 'v0')[0].addr_info[0]).toMatchObject({
      local: '10.1.2.3',
      broadcast: '10.1.255.255',
    });
    expect(inside('ip', 'route', 'show', 'default')).toContain('default via 10.1.0.1 dev v0');
    expect(inside('ip', 'route', 'show', 'table', '1000')).toContain(
      '192.0.2.0/24 dev v0 scope link linkdown mtu 1300',
    );
    expect((await pod.routes(AF.INET)).find(({ table }) => table === 1000)).toMatchObject({
      mtu: 1300,
      scope: 253,
      link: index,
    });
    expect(inside('ip', 'rule')).toContain('from 10.1.2.3 lookup 1000');
    expect((await pod.rules(AF.INET)).map(({ table }) => table)).toEqual([255, 1000, 254, 253]);
  });

  test('an error says what was wanted, and what the kernel says of it', async () => {
    using pod = NetworkNamespace.open(path);
    const route = { destination: parseCidr('192.0.2.0/24')!, gateway: parseIp('10.9.9.9')! };
    await expect(pod.change(addRoute(route))).rejects.toMatchObject({
      code: 'ENETUNREACH',
      message: expect.stringMatching(
        /^Cannot add route 192\.0\.2\.0\/24 via 10\.9\.9\.9: ENETUNREACH \(.+\)$/,
      ),
    });
    await expect(pod.link('nosuch')).rejects.toMatchObject({ code: 'ENODEV' });
    expect(await pod.findLink('nosuch')).toBeUndefined();
  });

  test('of several changes the later are tried when one fails, and what is tolerated does not', async () => {
    using pod = NetworkNamespace.open(path);
    const bridge = (name: string) => createLink({ name, kind: { type: 'bridge' } });
    await expect(pod.change(bridge('a'), bridge('a'), bridge('b'))).rejects.toMatchObject({
      code: 'EEXIST',
    });
    await pod.change({ ...bridge('a'), tolerate: ['EEXIST'] }, bridge('c'));
    expect((await pod.links()).map(({ name }) => name)).toEqual(['lo', 'a', 'b', 'c']);
  });

  test('a long list is complete', async () => {
    using pod = NetworkNamespace.open(path);
    await pod.change(
      ...Array.from({ length: 300 }, (_, i) =>
        createLink({ name: `i${i}`, kind: { type: 'ifb' } }),
      ),
    );
    expect(await pod.links()).toHaveLength(301);
  });

  test('sysctls are those of the namespace', () => {
    using pod = NetworkNamespace.open(path);
    using home = NetworkNamespace.current();
    const before = home.readSysctl('net/ipv4/ip_forward');
    const other = before === '1' ? '0' : '1';
    pod.writeSysctls({ 'net/ipv4/ip_forward': other });
    expect(pod.readSysctl('net/ipv4/ip_forward')).toBe(other);
    expect(home.readSysctl('net/ipv4/ip_forward')).toBe(before);
    expect(pod.writeSysctls({ 'net/nonsense': '1' })).toEqual(['net/nonsense']);
    expect(() => pod.readSysctl('net/../kernel/hostname')).toThrow('not a network sysctl');
    expect(() => pod.readSysctl('kernel/hostname')).toThrow('not a network sysctl');
  });

  test('a file that is no namespace is refused', () => {
    expect(() => NetworkNamespace.open(directory)).toThrow('EINVAL');
    expect(() => NetworkNamespace.open(join(directory, 'x'))).toThrow('ENOENT');
  });
});

describe('nftables', () => {
  const table = { family: NFPROTO.INET, name: 'test' };
  const key = (address: string) => parseIp(address)!;

  test('rules and maps are as nft(8) shows them', async () => {
    using pod = NetworkNamespace.open(path);
    await pod.netfilter.commit([
      addTable(table),
      addChain(table, 'inner'),
      addMap(table, { name: 'verdicts', key: ['ipv4_addr'], data: 'verdict' }, 1),
      addMap(
        table,
        { name: 'ports', key: ['inet_proto', 'inet_service'], data: ['ipv6_addr', 'inet_service'] },
        2,
      ),
      addChain(table, 'hook', { type: 'filter', hook: 'input', priority: 0 }),
      appendRule(table, {
        chain: 'hook',
        expressions: [matchInputInterface('eth0'), decide({ code: 'jump', chain: 'inner' })],
        comment: 'why',
      }),
      appendRule(table, {
        chain: 'inner',
        expressions: [matchSourceMac(parseMac('02:00:00:00:00:01')!), decide({ code: 'drop' })],
      }),
      addElement(table, 'verdicts', {
        key: key('10.0.0.1'),
        data: { code: 'goto', chain: 'inner' },
        comment: 'mine',
      }),
    ]);
    expect(inside('nft', 'list', 'table', 'inet', 'test').replaceAll(/\s+/g, ' ')).toBe(
      'table inet test { map verdicts { type ipv4_addr : verdict elements = { 10.0.0.1 comment "mine" : goto inner } } ' +
        'map ports { type inet_proto . inet_service : ipv6_addr . inet_service } ' +
        'chain inner { @ll,48,48 0x20000000001 drop } ' +
        'chain hook { type filter hook input priority filter; policy accept; iifname "eth0" jump inner comment "why" } } ',
    );
  });

  test.each(['10.0.0.0/8', '10.128.0.0/9', '10.1.2.3/32', '0.0.0.0/0'])(
    'a network %s',
    async (network) => {
      using pod = NetworkNamespace.open(path);
      const family = { family: NFPROTO.IPV4, name: 'test' };
      await pod.netfilter.commit([
        addTable(family),
        addChain(family, 'c'),
        appendRule(family, {
          chain: 'c',
          expressions: [matchAddress('daddr', parseCidr(network)!), decide({ code: 'accept' })],
        }),
      ]);
      const expected = network.replace(/\/32$/, '');
      expect(inside('nft', 'list', 'chain', 'ip', 'test', 'c')).toContain(
        `ip daddr ${expected} accept`,
      );
    },
  );

  test('a transaction is carried out whole or not at all, on the generation it was made for', async () => {
    using pod = NetworkNamespace.open(path);
    const add = (address: string) =>
      addElement(table, 'm', { key: key(address), data: { code: 'accept' } });
    await pod.netfilter.commit([
      addTable(table),
      addMap(table, { name: 'm', key: ['ipv4_addr'], data: 'verdict' }, 1),
      add('10.0.0.1'),
    ]);
    const list = async () =>
      (
        await pod.netfilter.dump(listElements(table, 'm'), ({ body }) => decodeElements(body))
      ).flat();
    await expect(pod.netfilter.commit([add('10.0.0.2'), add('10.0.0.1')])).rejects.toMatchObject({
      code: 'EEXIST',
    });
    expect(await list()).toHaveLength(1);
    const generation = decodeGeneration((await pod.netfilter.get(getGeneration())).body);
    await pod.netfilter.commit([add('10.0.0.2')], generation);
    await expect(pod.netfilter.commit([add('10.0.0.3')], generation)).rejects.toMatchObject({
      code: 'ERESTART',
    });
    expect(await list()).toHaveLength(2);
    const found = await pod.netfilter.get(getElement(table, 'm', key('10.0.0.2')));
    expect(decodeElements(found.body)[0]?.key).toEqual(key('10.0.0.2'));
    await pod.netfilter.commit([deleteElement(table, 'm', key('10.0.0.2'))]);
    await expect(pod.netfilter.get(getElement(table, 'm', key('10.0.0.2')))).rejects.toMatchObject({
      code: 'ENOENT',
    });
    await expect(pod.netfilter.commit([deleteChain(table, 'nosuch')])).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });

  test('a long map is listed whole', async () => {
    using pod = NetworkNamespace.open(path);
    await pod.netfilter.commit([
      addTable(table),
      addMap(table, { name: 'm', key: ['ipv4_addr'], data: 'verdict' }, 1),
    ]);
    await pod.netfilter.commit(
      Array.from({ length: 1000 }, (_, i) =>
        addElement(table, 'm', {
          key: Buffer.of(10, 0, i >> 8, i & 255),
          data: { code: 'accept' },
          comment: 'x'.repeat(100),
        }),
      ),
    );
    const found = await pod.netfilter.dump(listElements(table, 'm'), ({ body }) =>
      decodeElements(body),
    );
    expect(found.flat()).toHaveLength(1000);
  });
});
