import { describe, expect, test } from 'vitest';
import { parseCidr, parseIp } from '../../base/index.ts';
import { addAddress, decodeAddress, deleteAddress } from './addresses.ts';
import { AttributeMap, encodeAttributes, nested, text, u8, u32 } from './attributes.ts';
import {
  addBridgeVlan,
  decodeBridgeVlans,
  deleteBridgeVlan,
  enableVlanFiltering,
  setBridgePort,
} from './bridge-ports.ts';
import { listUdpConnections } from './connection-tracking.ts';
import {
  changeLink,
  createLink,
  decodeLink,
  deleteLink,
  formatMac,
  getLink,
  parseMac,
} from './links.ts';
import type { Request } from './messages.ts';
import { addRoute, decodeRoute, deleteRoute, findRoute, replaceRoute } from './routes.ts';
import { addRule, decodeRule, deleteRule } from './rules.ts';
import {
  addIngressQdisc,
  addTokenBucket,
  decodeQdisc,
  redirectIngress,
} from './traffic-control.ts';

/** Type, flags and body of a request, in hexadecimal. */
function wire(request: Request): [number, number, string] {
  return [request.type, request.flags, request.body.toString('hex')];
}

const cidr = (value: string) => parseCidr(value)!;
const ip = (value: string) => parseIp(value)!;
const LINK = '00000000';

describe('links', () => {
  test('a veth pair, the other end in another namespace', () => {
    const request = createLink({
      name: 'v0',
      mtu: 1400,
      master: 3,
      kind: {
        type: 'veth',
        peer: { name: 'eth0', mac: Buffer.from('020000000001', 'hex'), namespace: 9 },
      },
    });
    expect(wire(request)).toEqual([
      16,
      0x600,
      `${LINK}${'00000000'.repeat(3)}` +
        '0700030076300000' + // IFLA_IFNAME "v0"
        '48001280' + // IFLA_LINKINFO
        '090001007665746800000000' + // IFLA_INFO_KIND "veth"
        '38000280' + // IFLA_INFO_DATA
        '34000180' + // VETH_INFO_PEER
        '00'.repeat(16) +
        '090003006574683000000000' + // IFLA_IFNAME "eth0"
        '0a000100020000000001' +
        '0000' + // IFLA_ADDRESS
        '08001c0009000000' + // IFLA_NET_NS_FD
        '0800040078050000' + // IFLA_MTU
        '08000a0003000000', // IFLA_MASTER
    ]);
  });

  test.each([
    ['bridge', { type: 'bridge' }, '0b0001006272696467650000'],
    [
      'bridge with VLANs',
      { type: 'bridge', vlanFiltering: true },
      '0b0001006272696467650000' + '0c000280' + '0500070001000000',
    ],
    [
      'macvlan',
      { type: 'macvlan', mode: 'bridge', broadcastQueueLength: 5 },
      '0c0001006d6163766c616e00' + '14000280' + '0800010004000000' + '0800070005000000',
    ],
    [
      'ipvlan',
      { type: 'ipvlan', mode: 'l3s' },
      '0b0001006970766c616e0000' + '0c000280' + '0600010002000000',
    ],
    [
      'vlan',
      { type: 'vlan', id: 4094 },
      '09000100766c616e00000000' + '0c000280' + '06000100fe0f0000',
    ],
    ['vrf', { type: 'vrf', table: 1001 }, '0800010076726600' + '0c000280' + '08000100e9030000'],
    ['dummy', { type: 'dummy' }, '0a00010064756d6d79000000'],
    ['ifb', { type: 'ifb' }, '0800010069666200'],
  ] as const)('the kind %s', (_, kind, info) => {
    const { body } = createLink({ name: 'x', kind });
    const length = (4 + info.length / 2).toString(16).padStart(2, '0');
    expect(body.subarray(16).toString('hex')).toBe(
      `06000300780000 00${length}001280${info}`.replace(' ', ''),
    );
  });

  test('a link on another one', () => {
    const { body } = createLink({ name: 'x', kind: { type: 'dummy' }, parent: 7, namespace: 4 });
    const attributes = new AttributeMap(body.subarray(16));
    expect([attributes.u32(5), attributes.u32(28)]).toEqual([7, 4]);
  });

  test('up, promiscuous, renamed, moved', () => {
    expect(wire(changeLink(5, { up: true, promiscuous: true, allMulticast: false }))).toEqual([
      16,
      0,
      '00000000' + '05000000' + '01010000' + '01030000',
    ]);
    expect(wire(changeLink(5, { up: false }))[2]).toBe(
      '00000000' + '05000000' + '00000000' + '01000000',
    );
    expect(
      wire(changeLink(5, { name: 'n', namespace: 3, txQueueLength: 9, alias: 'old' }))[2],
    ).toBe(
      '00000000' +
        '05000000' +
        '00000000' +
        '00000000' +
        '060003006e000000' +
        '08000d0009000000' +
        '08001c0003000000' +
        '070014006f6c6400',
    );
    expect(wire(changeLink(5, { alias: '' }))[2]).toMatch(/04001400$/);
  });

  test('by index and by name', () => {
    expect(wire(deleteLink(6))).toEqual([17, 0, `0000000006000000${'00'.repeat(8)}`]);
    expect(wire(getLink('lo'))).toEqual([18, 0, `${'00'.repeat(16)}070003006c6f0000`]);
  });

  test('is decoded', () => {
    const header = Buffer.from('00000100' + '02000000' + '01030000' + '00000000', 'hex');
    const attributes = encodeAttributes([
      text(3, 'eth0'),
      u32(4, 1500),
      { type: 1, value: Buffer.from('020000000001', 'hex') },
      u8(16, 6),
      u32(5, 8),
      u32(10, 4),
      u32(13, 1000),
      u32(37, 0),
      text(20, 'alias'),
      nested(18, [text(1, 'veth'), nested(2, [u32(1, 7)])]),
    ]);
    const link = decodeLink(Buffer.concat([header, attributes]));
    expect(link).toMatchObject({
      index: 2,
      name: 'eth0',
      mtu: 1500,
      up: true,
      promiscuous: true,
      allMulticast: true,
      operationalState: 'up',
      master: 4,
      parent: 8,
      parentElsewhere: true,
      txQueueLength: 1000,
      alias: 'alias',
      kind: 'veth',
    });
    expect(formatMac(link.mac)).toBe('02:00:00:00:00:01');
    expect(link.kindData?.u32(1)).toBe(7);
  });

  test.each([
    ['02:00:00:00:00:0a', '02000000000a'],
    ['02-00-00-00-00-0A', '02000000000a'],
    ['02:00:00:00:00', undefined],
    ['02:00-00:00:00:00', undefined],
    ['0g:00:00:00:00:00', undefined],
  ])('the hardware address %s', (value, expected) => {
    expect(parseMac(value)?.toString('hex')).toBe(expected);
  });
});

describe('bridge ports', () => {
  const header = (index: string) => `07000000${index}${'00'.repeat(8)}`;

  test('flags', () => {
    expect(wire(setBridgePort(5, { hairpin: true, isolated: true }))).toEqual([
      19,
      0,
      `${header('05000000')}14000c80${'0500040001000000'}${'0500210001000000'}`,
    ]);
  });

  test('VLAN filtering', () => {
    expect(wire(enableVlanFiltering(5))).toEqual([
      16,
      0,
      `${LINK}05000000${'00'.repeat(8)}1c0012800b0001006272696467650000${'0c0002800500070001000000'}`,
    ]);
  });

  test('VLANs are added and removed', () => {
    expect(wire(addBridgeVlan(5, { id: 100, pvid: true, untagged: true }))).toEqual([
      19,
      0,
      `${header('05000000')}0c001a80${'0800020006006400'}`,
    ]);
    expect(wire(deleteBridgeVlan(5, { id: 1, self: true }))).toEqual([
      17,
      0,
      `${header('05000000')}14001a80${'0600000002000000'}${'0800020000000100'}`,
    ]);
  });

  test('VLANs are decoded', () => {
    const spec = nested(26, [
      { type: 2, value: Buffer.from('06000100', 'hex') },
      { type: 2, value: Buffer.from('00006400', 'hex') },
    ]);
    const body = Buffer.concat([Buffer.from(header('05000000'), 'hex'), encodeAttributes([spec])]);
    expect(decodeBridgeVlans(body)).toEqual({
      index: 5,
      vlans: [
        { id: 1, pvid: true, untagged: true },
        { id: 100, pvid: false, untagged: false },
      ],
    });
  });
});

describe('addresses', () => {
  test('IPv4 with its broadcast address', () => {
    expect(wire(addAddress(2, cidr('10.1.2.3/16')))).toEqual([
      20,
      0x600,
      '02100000' + '02000000' + '080002000a010203' + '080001000a010203' + '080004000a01ffff',
    ]);
  });

  test('IPv4 of one address, and IPv6, have none', () => {
    expect(wire(addAddress(2, cidr('10.1.2.3/32')))[2]).toBe(
      '02200000' + '02000000' + '080002000a010203' + '080001000a010203',
    );
    const v6 = 'fd000000000000000000000000000001';
    expect(wire(deleteAddress(2, cidr('fd00::1/64')))).toEqual([
      21,
      0,
      `0a40000002000000${`14000200${v6}`}${`14000100${v6}`}`,
    ]);
  });

  test('is decoded, with the flags of the search for duplicates', () => {
    const v6 = { type: 1, value: ip('fd00::1') };
    const body = (flags: number) =>
      Buffer.concat([
        Buffer.from('0a4000fd02000000', 'hex'),
        encodeAttributes([v6, u32(8, flags)]),
      ]);
    expect(decodeAddress(body(0x40))).toMatchObject({
      index: 2,
      tentative: true,
      duplicate: false,
      scope: 253,
    });
    expect(decodeAddress(body(0x48))).toMatchObject({ tentative: true, duplicate: true });
    expect(decodeAddress(body(0), 3)).toBeUndefined();
    expect(decodeAddress(body(0))?.cidr).toEqual(cidr('fd00::1/64'));
  });
});

describe('routes', () => {
  test('the default route', () => {
    const route = { destination: cidr('0.0.0.0/0'), gateway: ip('10.0.0.1'), link: 2 };
    expect(wire(addRoute(route))).toEqual([
      24,
      0x400,
      '02000000' + 'fe030001' + '00000000' + '080005000a000001' + '0800040002000000',
    ]);
    expect(wire(replaceRoute(route)).slice(0, 2)).toEqual([24, 0x500]);
    expect(wire(deleteRoute(route)).slice(0, 2)).toEqual([25, 0]);
  });

  test('with everything', () => {
    const route = {
      destination: cidr('192.0.2.0/24'),
      link: 2,
      source: ip('10.0.0.5'),
      table: 1000,
      scope: 253,
      priority: 7,
      mtu: 1400,
      advmss: 1360,
      onLink: true,
    };
    expect(wire(addRoute(route))[2]).toBe(
      '02180000' +
        '0003fd01' +
        '04000000' +
        '08000100c0000200' +
        '080007000a000005' +
        '0800040002000000' +
        '0800060007000000' +
        '14000880' +
        '0800020078050000' +
        '0800080050050000' +
        '08000f00e8030000',
    );
    expect(decodeRoute(addRoute(route).body)).toMatchObject({
      ...route,
      protocol: 3,
      type: 1,
    });
  });

  test('the route to an address', () => {
    expect(wire(findRoute(ip('10.0.0.5')))).toEqual([
      26,
      0,
      `0220${'00'.repeat(10)}080001000a000005`,
    ]);
  });
});

describe('rules', () => {
  const rule = { source: cidr('10.0.0.5/32'), table: 100 };

  test('are added, deleted and decoded', () => {
    const body = '02002000' + '64000001' + '00000000' + '080002000a000005' + '08000f0064000000';
    expect(wire(addRule(rule))).toEqual([32, 0x600, body]);
    expect(wire(deleteRule(rule))).toEqual([33, 0, body]);
    expect(decodeRule(Buffer.from(body, 'hex'))).toEqual({ ...rule, priority: undefined });
  });

  test('a table above 255 is only in its attribute, another action is no rule', () => {
    const { body } = addRule({ ...rule, table: 1000, priority: 5 });
    expect(body[4]).toBe(0);
    expect(decodeRule(body)).toEqual({ ...rule, table: 1000, priority: 5 });
    body.writeUInt8(6, 7);
    expect(decodeRule(body)).toBeUndefined();
  });
});

describe('traffic control', () => {
  test('a token bucket', () => {
    const bucket = { rate: 1_000_000n, burst: 100_000, limit: 125_000 };
    const request = addTokenBucket(2, bucket);
    // 100000 bytes take 100 ms, which are 1562500 ticks of 64 ns.
    expect(wire(request)).toEqual([
      36,
      0x600,
      '00000000' +
        '02000000' +
        '00000100' +
        'ffffffff' +
        '00000000' +
        '0800010074626600' +
        '2c000280' +
        '28000100' +
        `${'00'.repeat(8)}40420f00${'00'.repeat(12)}48e80100${'84d71700'}00000000`,
    ]);
    expect(decodeQdisc(request.body)).toEqual({
      link: 2,
      handle: 0x10000,
      parent: 0xffffffff,
      kind: 'tbf',
      tokenBucket: bucket,
    });
  });

  test('a rate above 32 bits stands beside', () => {
    const bucket = { rate: 10_000_000_000n, burst: 1_000_000, limit: 2_000_000 };
    expect(decodeQdisc(addTokenBucket(2, bucket).body).tokenBucket?.rate).toBe(bucket.rate);
  });

  test('ingress and redirection', () => {
    expect(wire(addIngressQdisc(2))).toEqual([
      36,
      0x600,
      '00000000' + '02000000' + '0000ffff' + 'f1ffffff' + '00000000' + '0c000100696e677265737300',
    ]);
    const { type, body } = redirectIngress(2, 7);
    expect(type).toBe(44);
    expect(body.subarray(0, 20).toString('hex')).toBe(
      '00000000' + '02000000' + '00000000' + '0000ffff' + '00030100',
    );
    const options = new AttributeMap(body.subarray(20)).nested(2);
    expect(options?.bytes(5)?.toString('hex')).toBe(`01000100${'00'.repeat(28)}`);
    const action = options?.nested(7)?.nested(1);
    expect(action?.text(1)).toBe('mirred');
    expect(action?.nested(2)?.bytes(2)?.toString('hex')).toBe(
      '00000000' + '00000000' + '04000000' + '00000000' + '00000000' + '01000000' + '07000000',
    );
  });
});

test('UDP connections are asked for by port', () => {
  const { type, body } = listUdpConnections(2, 53);
  expect(type).toBe(0x101);
  expect(body.toString('hex')).toBe(
    '02000000' +
      '18000180' +
      '14000280' +
      '0500010011000000' +
      '0600030000350000' +
      '14001980' +
      '0800010028000000' +
      '0800020000000000',
  );
});
