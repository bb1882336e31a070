import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
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
  runReference,
  serveAddress,
} from './plugin-harness.ts';

/**
 * Plugins for links that not every kernel has, against the reference:
 * `npm run test:vm` runs this under one that has them all.
 */
function kernelHas(...kind: string[]): boolean {
  const probe = [
    'sh',
    '-c',
    `ip link add name p0 type veth && ip link add probe0 ${kind.join(' ')}`,
  ];
  return spawnSync('unshare', ['--net', ...probe]).status === 0;
}

const HAS = {
  dummy: kernelHas('type', 'dummy'),
  ipvlan: kernelHas('link', 'p0', 'type', 'ipvlan'),
  vlan: kernelHas('link', 'p0', 'type', 'vlan', 'id', '5'),
  vrf: kernelHas('type', 'vrf', 'table', '9'),
  vlanFiltering: kernelHas('type', 'bridge', 'vlan_filtering', '1'),
};

const ours = new BuiltIn();
let bench: Bench;

beforeAll(() => {
  enterOwnHost();
  bench = new Bench();
  if (Object.values(HAS).includes(true)) makeUplink(undefined);
});

afterAll(() => bench.close());

/** A veth pair, up, that stands for the host's way out. */
function makeUplink(host: string | undefined): void {
  inside(host, 'ip', 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up1');
  for (const name of ['up0', 'up1']) inside(host, 'ip', 'link', 'set', name, 'up');
}

const ipam = {
  type: 'static',
  addresses: [
    { address: '10.5.0.2/24', gateway: '10.5.0.1' },
    { address: 'fd05::2/64', gateway: 'fd05::1' },
  ],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
};

/** ADD, CHECK and DEL by both: the same results, and the same in the kernel. */
async function compare(config: Config, prevResult?: (netns: string) => object): Promise<void> {
  const host = bench.host();
  makeUplink(host);
  const [mine, theirs] = [bench.namespace(), bench.namespace()];
  const call = (netns: string) => ({
    ...{ containerId: newContainerId(), netns, ifname: 'eth0' },
    ...(prevResult === undefined ? {} : { prevResult: prevResult(netns) }),
  });
  const [own, other] = [call(mine), call(theirs)];
  const result = await ours.add(config, own);
  const expected = runReference(host, 'ADD', config, other);
  expect(comparable(result)).toEqual(comparable(expected));
  await alike(mine, theirs);
  await ours.check(config, { ...own, prevResult: result });
  await ours.del(config, { ...own, prevResult: result });
  runReference(host, 'DEL', config, { ...other, prevResult: expected ?? {} });
  await alike(mine, theirs);
  await ours.del(config, own);
}

/** Link-local addresses get their routes only when the kernel knows that nobody else has them. */
async function alike(mine: string, theirs: string): Promise<void> {
  await vi.waitFor(() => expect(networkOf(mine)).toEqual(networkOf(theirs)), { timeout: 10_000 });
}

describe.runIf(HAS.vlan)('vlan', () => {
  test.each([{ vlanId: 5 }, { vlanId: 4094, mtu: 1400 }])('%j', (keys) =>
    compare({ type: 'vlan', master: 'up0', ...keys, ipam }),
  );
});

describe.runIf(HAS.vlan && HAS.ipvlan)('in a container', () => {
  test.each([
    { type: 'vlan', vlanId: 5 },
    { type: 'ipvlan', mode: 'l2' },
  ])('%j is made on a link of the container', async (kind) => {
    const netns = bench.namespace();
    makeUplink(netns);
    const config = { ...kind, master: 'up0', linkInContainer: true, ipam };
    const call = { containerId: newContainerId(), netns, ifname: 'net1' };
    const result = await ours.add(config, call);
    expect(inside(netns, 'ip', 'link', 'show', 'net1')).toContain('net1@up0');
    await ours.check(config, { ...call, prevResult: result });
    await ours.del(config, call);
    expect(inside(netns, 'ip', 'link')).not.toContain('net1');
  });
});

describe.runIf(HAS.ipvlan)('ipvlan', () => {
  test('gets an address by DHCP, though it has the hardware address of the host', async () => {
    const path = (name: string) => join(bench.directory, name);
    writeFileSync(path('leases'), '');
    const lines = [
      'start 10.5.9.2',
      'end 10.5.9.9',
      'interface up1',
      `lease_file ${path('leases')}`,
    ];
    lines.push(`pidfile ${path('pid')}`, 'option subnet 255.255.255.0');
    writeFileSync(path('udhcpd.conf'), `${lines.join('\n')}\n`);
    inside(undefined, 'ip', 'addr', 'add', '10.5.9.1/24', 'dev', 'up1');
    const server = spawn('busybox', ['udhcpd', '-f', path('udhcpd.conf')], { stdio: 'ignore' });
    const call = { containerId: newContainerId(), netns: bench.namespace() };
    const config = { type: 'ipvlan', master: 'up0', ipam: { type: 'dhcp' } };
    const own = new BuiltIn({ dhcpDirectory: bench.path('dhcp') });
    try {
      const result = await own.add(config, call);
      expect(result['ips'][0].address).toMatch(/^10\.5\.9\.\d\/24$/);
      await own.del(config, call);
    } finally {
      server.kill('SIGKILL');
    }
  });

  test.each([{}, { mode: 'l3' }, { mode: 'l3s', mtu: 1400 }])('%j', (keys) =>
    compare({ type: 'ipvlan', master: 'up0', ...keys, ipam }),
  );
});

describe.runIf(HAS.vrf)('vrf', () => {
  /** An interface with addresses, as the plugin before leaves it. */
  const withInterface = (netns: string) => {
    inside(netns, 'ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0-peer');
    inside(netns, 'ip', 'address', 'add', '10.5.0.2/24', 'dev', 'eth0');
    inside(netns, 'ip', 'address', 'add', 'fd05::2/64', 'dev', 'eth0');
    for (const name of ['eth0', 'eth0-peer']) inside(netns, 'ip', 'link', 'set', name, 'up');
    return {
      interfaces: [{ name: 'eth0', sandbox: netns }],
      ips: [
        { address: '10.5.0.2/24', interface: 0 },
        { address: 'fd05::2/64', interface: 0 },
      ],
    };
  };

  test.each([{ vrfName: 'red' }, { vrfname: 'red', table: 77 }])('%j', (keys) =>
    compare({ type: 'vrf', ...keys }, withInterface),
  );
});

// Elsewhere others read /etc too. Debian's reference plugins do not have the list yet.
test.runIf(process.env['TEST_VM'] === 'yes')('tuning sets what is on the list', async () => {
  mkdirSync('/etc/cni/tuning', { recursive: true });
  writeFileSync('/etc/cni/tuning/allowlist.conf', '^net.ipv4.conf.IFNAME.arp_[a-z]+$\n\n');
  const netns = bench.namespace();
  inside(netns, 'ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'peer0');
  const call = { containerId: newContainerId(), netns, prevResult: { ips: [] } };
  const set = (key: string) =>
    ours.add(
      { type: 'tuning', dataDir: bench.path('tuning'), sysctl: { [`net.ipv4.conf.${key}`]: '1' } },
      call,
    );
  await set('IFNAME.arp_filter');
  expect(inside(netns, 'sysctl', '-n', 'net.ipv4.conf.eth0.arp_filter').trim()).toBe('1');
  for (const key of ['eth0.arp_filter', 'IFNAME.rp_filter']) {
    await expect(set(key)).rejects.toThrow(`Sysctl "net.ipv4.conf.${key}" is not allowed`);
  }
});

describe.runIf(HAS.dummy)('dummy', () => {
  // Debian's reference plugins have no dummy: what they would make is told by hand.
  test('has its addresses, and is gone after DEL', async () => {
    const netns = bench.namespace();
    const config = { type: 'dummy', ipam };
    const call = { containerId: newContainerId(), netns, ifname: 'eth0' };
    const result = await ours.add(config, call);
    expect(comparable(result)).toMatchObject({
      interfaces: [{ name: 'eth0', mac: '*', sandbox: '*' }],
      ips: [
        { address: '10.5.0.2/24', gateway: '10.5.0.1', interface: 0 },
        { address: 'fd05::2/64', gateway: 'fd05::1', interface: 0 },
      ],
    });
    expect(inside(netns, 'ip', '-d', 'link', 'show', 'eth0')).toMatch(/\bdummy\b/);
    expect(inside(netns, 'ip', 'route')).toContain('default via 10.5.0.1 dev eth0');
    await ours.check(config, { ...call, prevResult: result });
    await ours.del(config, { ...call, prevResult: result });
    expect(inside(netns, 'ip', 'link')).not.toContain('eth0');
  });
});

describe.runIf(HAS.vlanFiltering && HAS.vlan)('VLANs of a bridge', () => {
  beforeAll(() => clearOwnHost());
  afterEach(() => clearOwnHost());

  const config = (more: object, last = 2): Config => ({
    type: 'bridge',
    bridge: 'br0',
    ipam: { type: 'static', addresses: [{ address: `10.6.0.${last}/24` }] },
    ...more,
  });
  const call = () => ({ containerId: newContainerId(), netns: bench.namespace() });

  /** The VLANs of each link of a host, as bridge(8) shows them. */
  const vlansOf = (host: string | undefined) =>
    Object.fromEntries(
      (
        JSON.parse(inside(host, 'bridge', '-json', 'vlan')) as {
          ifname: string;
          vlans: { vlan: number; vlanEnd?: number; flags?: string[] }[];
        }[]
      ).map(({ ifname, vlans }) => [
        ifname.replace(/^veth[0-9a-f]{8}/, 'veth*'),
        vlans.map(({ vlan, flags = [] }) => [vlan, ...flags].join(' ')),
      ]),
    );

  test.each([
    { vlan: 7 },
    { vlan: 7, isGateway: true },
    { vlan: 7, isDefaultGateway: true, mtu: 1400 },
    { vlan: 7, ipam: {} },
  ])('%j', async (more) => {
    const host = bench.host();
    const [mine, theirs] = [call(), call()];
    const expected = runReference(host, 'ADD', config(more), theirs);
    const result = await ours.add(config(more), mine);
    expect(comparable(result)).toEqual(comparable(expected));
    expect(vlansOf(undefined)).toEqual(vlansOf(host));
    expect(vlansOf(undefined)).toMatchObject({
      'veth*': ['1 Egress Untagged', '7 PVID Egress Untagged'],
    });
    await alike(mine.netns, theirs.netns);
    if (more.ipam === undefined) await ours.check(config(more), { ...mine, prevResult: result });
    await ours.del(config(more), mine);
    runReference(host, 'DEL', config(more), theirs);
    expect(vlansOf(undefined)).toEqual(vlansOf(host));
  });

  // Debian's reference plugins do not have these keys yet.
  const trunk = [{ id: 5 }, { minID: 10, maxID: 12 }];
  test.each([
    [{ vlanTrunk: trunk }, ['1 PVID Egress Untagged', '5', '10', '11', '12']],
    [{ vlanTrunk: trunk, preserveDefaultVlan: false }, ['5', '10', '11', '12']],
    [{ vlan: 7, preserveDefaultVlan: false }, ['7 PVID Egress Untagged']],
  ])('%j', async (more, expected) => {
    await ours.add(config(more), call());
    expect(vlansOf(undefined)['veth*']).toEqual(expected);
    expect(inside(undefined, 'ip', '-d', 'link', 'show', 'br0')).toContain('vlan_filtering 1');
  });

  test('an old bridge begins to filter', async () => {
    inside(undefined, 'ip', 'link', 'add', 'br0', 'type', 'bridge');
    await ours.add(config({ vlan: 7 }), call());
    expect(inside(undefined, 'ip', '-d', 'link', 'show', 'br0')).toContain('vlan_filtering 1');
  });

  test('traffic stays in its VLAN, and a trunk is in several', async () => {
    const own = { preserveDefaultVlan: false };
    const [seven, seventh, eight, trunked] = [call(), call(), call(), call()];
    await ours.add(config({ vlan: 7, isGateway: true, ...own }, 2), seven);
    await ours.add(config({ vlan: 7, ...own }, 3), seventh);
    await ours.add(config({ vlan: 8, ...own }, 4), eight);
    await ours.add(config({ vlanTrunk: [{ minID: 7, maxID: 8 }], ...own }, 5), trunked);
    for (const id of ['7', '8']) {
      const name = `vlan${id}`;
      inside(trunked.netns, ...`ip link add link eth0 name ${name} type vlan id ${id}`.split(' '));
      inside(trunked.netns, 'ip', 'link', 'set', name, 'up');
      inside(trunked.netns, 'ip', 'addr', 'add', `10.6.${id}.5/32`, 'dev', name);
    }
    inside(trunked.netns, 'ip', 'route', 'add', '10.6.0.2/32', 'dev', 'vlan7', 'src', '10.6.7.5');
    inside(trunked.netns, 'ip', 'route', 'add', '10.6.0.4/32', 'dev', 'vlan8', 'src', '10.6.8.5');
    for (const { netns } of [seven, eight])
      inside(netns, 'ip', 'route', 'add', '10.6.0.0/16', 'dev', 'eth0');
    const servers = [seven, eight].map(({ netns }) => serveAddress(netns, 80));
    try {
      expect(await ask(seventh.netns, '10.6.0.2', 80)).toBe('10.6.0.3');
      expect(await ask(ownHost(), '10.6.0.2', 80)).toBe('10.6.0.1');
      await expect(ask(seventh.netns, '10.6.0.4', 80)).rejects.toThrow();
      expect(await ask(trunked.netns, '10.6.0.2', 80)).toBe('10.6.7.5');
      expect(await ask(trunked.netns, '10.6.0.4', 80)).toBe('10.6.8.5');
    } finally {
      for (const server of servers) server.close();
    }
  });
});
