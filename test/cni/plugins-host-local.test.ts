import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { Bench, BuiltIn, type Config, newContainerId, runReference } from './plugin-harness.ts';

const bench = new Bench();
const ours = new BuiltIn();
let dataDir: string;
let number = 0;

beforeEach(() => {
  dataDir = bench.path(`store-${number++}`);
});

afterAll(() => bench.close());

function config(ipam: object, more: object = {}): Config {
  return { type: 'host-local', ipam: { type: 'host-local', dataDir, ...ipam }, ...more };
}

const two = {
  ranges: [
    [
      { subnet: '10.1.2.0/24', rangeStart: '10.1.2.9', rangeEnd: '10.1.2.11' },
      { subnet: '10.1.3.0/29' },
    ],
    [{ subnet: 'fd00:1::/120' }],
  ],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '192.0.2.0/24', gw: '10.1.2.1' }, { dst: '::/0' }],
};

const files = () => readdirSync(join(dataDir, 'testnet')).sort();

test('gives out the same addresses as the reference, which shares its store', async () => {
  const ids = Array.from({ length: 8 }, newContainerId);
  const results = [];
  for (const [i, containerId] of ids.entries()) {
    const run =
      i % 2 === 0
        ? ours.add(config(two), { containerId })
        : runReference('/proc/self/ns/net', 'ADD', config(two), { containerId, netns: '/x' });
    results.push(await run);
  }
  expect(
    results.map((result) => result!['ips'].map((ip: { address: string }) => ip.address)),
  ).toEqual([
    ['10.1.2.9/24', 'fd00:1::2/120'],
    ['10.1.2.10/24', 'fd00:1::3/120'],
    ['10.1.2.11/24', 'fd00:1::4/120'],
    ['10.1.3.2/29', 'fd00:1::5/120'],
    ['10.1.3.3/29', 'fd00:1::6/120'],
    ['10.1.3.4/29', 'fd00:1::7/120'],
    ['10.1.3.5/29', 'fd00:1::8/120'],
    ['10.1.3.6/29', 'fd00:1::9/120'],
  ]);
  await expect(ours.add(config(two), { containerId: newContainerId() })).rejects.toThrow(
    'no IP addresses available',
  );
  // A failed ADD leaves nothing, and each side takes back what the other gave out.
  expect(files()).toHaveLength(16 + 3);
  for (const [i, containerId] of ids.entries()) {
    if (i % 2 === 1) await ours.del(config(two), { containerId });
    else runReference('/proc/self/ns/net', 'DEL', config(two), { containerId, netns: '/x' });
  }
  expect(files()).toEqual(['last_reserved_ip.0', 'last_reserved_ip.1', 'lock']);
  const next = await ours.add(config(two), { containerId: newContainerId() });
  expect(next['ips'][0].address).toBe('10.1.2.9/24');
});

test('answers the result of the reference', async () => {
  const resolvConf = join(dataDir, 'resolv.conf');
  writeFileSync(
    resolvConf,
    '# x\nnameserver 192.0.2.1\nsearch a.example b.example\ndomain c.example\noptions ndots:5 edns0\n',
  );
  const one = config({ ...two, resolvConf });
  const containerId = newContainerId();
  const reference = runReference('/proc/self/ns/net', 'ADD', one, { containerId, netns: '/x' });
  const file = readFileSync(join(dataDir, 'testnet', '10.1.2.9'), 'utf8');
  runReference('/proc/self/ns/net', 'DEL', one, { containerId, netns: '/x' });
  writeFileSync(join(dataDir, 'testnet', 'last_reserved_ip.0'), '');
  writeFileSync(join(dataDir, 'testnet', 'last_reserved_ip.1'), '');
  expect(await ours.add(one, { containerId })).toEqual(reference);
  expect(readFileSync(join(dataDir, 'testnet', '10.1.2.9'), 'utf8')).toBe(file);
});

test('ranges of the runtime come first, and the old form is understood', async () => {
  const ipRanges = [[{ subnet: '10.5.0.0/24' }]];
  const result = await ours.add(
    config({ subnet: '10.6.0.0/24', gateway: '10.6.0.9' }, { runtimeConfig: { ipRanges } }),
    { containerId: newContainerId() },
  );
  expect(result['ips']).toEqual([
    { address: '10.5.0.2/24', gateway: '10.5.0.1' },
    { address: '10.6.0.1/24', gateway: '10.6.0.9' },
  ]);
});

test('requested addresses are given, or nothing is', async () => {
  const containerId = newContainerId();
  const given = await ours.add(config({ subnet: '10.1.2.0/24' }), {
    containerId,
    args: 'IgnoreUnknown=1;IP=10.1.2.77;K8S_POD_NAME=x',
  });
  expect(given['ips'][0].address).toBe('10.1.2.77/24');
  const ask = (ips: string[]) =>
    ours.add(config({ subnet: '10.1.2.0/24' }, { runtimeConfig: { ips } }), {
      containerId: newContainerId(),
    });
  await expect(ask(['10.1.2.77/24'])).rejects.toThrow('10.1.2.77 is not available');
  await expect(ask(['10.1.2.1'])).rejects.toThrow("is the subnet's gateway");
  await expect(ask(['10.9.9.9'])).rejects.toThrow('requested addresses 10.9.9.9');
  await expect(ask(['nonsense'])).rejects.toThrow('cannot understand');
  expect(files()).toEqual(['10.1.2.77', 'last_reserved_ip.0', 'lock']);
});

test('what another process changes is seen', async () => {
  const one = config({ subnet: '10.1.2.0/24' });
  const [a, b] = [newContainerId(), newContainerId()];
  const host = '/proc/self/ns/net';
  await ours.add(one, { containerId: a });
  runReference(host, 'ADD', one, { containerId: b, netns: '/x' });
  await expect(ours.add(one, { containerId: b })).rejects.toThrow('duplicate allocation');
  runReference(host, 'DEL', one, { containerId: a, netns: '/x' });
  await expect(ours.check(one, { containerId: a })).rejects.toThrow('no address');
  await ours.add(one, { containerId: a });
  await ours.del(one, { containerId: b });
  await ours.del(one, { containerId: a });
  expect(files()).toEqual(['last_reserved_ip.0', 'lock']);
});

test('a second ADD is refused, DEL may be repeated, CHECK sees the difference', async () => {
  const one = config({ subnet: '10.1.2.0/24' });
  const containerId = newContainerId();
  await ours.add(one, { containerId });
  await ours.check(one, { containerId });
  await expect(ours.add(one, { containerId })).rejects.toThrow('duplicate allocation');
  await ours.add(one, { containerId, ifname: 'eth1' });
  await ours.del(one, { containerId });
  await ours.del(one, { containerId });
  await expect(ours.check(one, { containerId })).rejects.toThrow('no address');
  await ours.check(one, { containerId, ifname: 'eth1' });
});

test('GC takes back what no valid attachment has, and what a dead process left empty', async () => {
  const one = config({ subnet: '10.1.2.0/24' });
  const [a, b] = [newContainerId(), newContainerId()];
  await ours.add(one, { containerId: a });
  await ours.add(one, { containerId: b });
  writeFileSync(join(dataDir, 'testnet', '10.1.2.9'), '');
  await ours.run('GC', {
    ...one,
    'cni.dev/valid-attachments': [{ containerID: b, ifname: 'eth0' }],
  });
  expect(files()).toEqual(['10.1.2.3', 'last_reserved_ip.0', 'lock']);
});

test('an empty file of a dead process does not cost its address', async () => {
  const one = config({ subnet: '10.1.2.0/30' });
  await ours.del(one, { containerId: 'x' });
  writeFileSync(join(dataDir, 'testnet', '10.1.2.2'), '');
  const containerId = newContainerId();
  expect((await ours.add(one, { containerId }))['ips'][0].address).toBe('10.1.2.2/30');
});

test('many at once get different addresses', async () => {
  const one = config({ subnet: '10.1.0.0/16' });
  const results = await Promise.all(
    Array.from({ length: 200 }, () => ours.add(one, { containerId: newContainerId() })),
  );
  expect(new Set(results.map((result) => result['ips'][0].address)).size).toBe(200);
});

test.each([
  ['no IP ranges', {}],
  ['too small', { subnet: '10.1.2.0/31' }],
  ['host bits', { subnet: '10.1.2.5/24' }],
  ['address with prefix length', { subnet: '10.1.2/24' }],
  ['not in network', { subnet: '10.1.2.0/24', rangeStart: '10.1.3.1' }],
  ['not in network', { subnet: '10.1.2.0/24', gateway: '10.1.3.1' }],
  ['before rangeStart', { subnet: '10.1.2.0/24', rangeStart: '10.1.2.9', rangeEnd: '10.1.2.8' }],
  ['mixes address families', { ranges: [[{ subnet: '10.1.2.0/24' }, { subnet: 'fd00::/64' }]] }],
  ['overlap', { ranges: [[{ subnet: '10.1.0.0/16' }, { subnet: '10.1.2.0/24' }]] }],
  [
    'range set 0 overlaps with 1',
    { ranges: [[{ subnet: '10.1.0.0/16' }], [{ subnet: '10.1.2.0/24' }]] },
  ],
  ['an array', { ranges: 'x' }],
])('refuses ranges: %s', async (message, ipam) => {
  await expect(ours.add(config(ipam), { containerId: 'c' })).rejects.toMatchObject({
    cniCode: 7,
    message: expect.stringContaining(message),
  });
});
