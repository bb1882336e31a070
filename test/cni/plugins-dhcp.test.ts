import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { NEVER } from '../../src/base/index.ts';
import { DhcpClient } from '../../src/cni/plugins/dhcp/client.ts';
import { NetworkNamespace, PacketSocket } from '../../src/linux/index.ts';
import {
  Bench,
  BuiltIn,
  type Config,
  clearOwnHost,
  comparable,
  enterOwnHost,
  inside,
  newContainerId,
  ownHost,
  REFERENCE,
  runReference,
} from './plugin-harness.ts';

const bench = new Bench();
const records = bench.path('dhcp');
let ours: BuiltIn;
let server: ChildProcess | undefined;
let number = 0;

beforeAll(() => enterOwnHost());

afterEach(async () => {
  await stopServer();
  clearOwnHost();
});

afterAll(() => bench.close());

async function stopServer(): Promise<void> {
  const running = server;
  server = undefined;
  if (running === undefined || running.exitCode !== null) return;
  running.kill('SIGKILL');
  await once(running, 'exit');
}

/** A DHCP server on the bridge that containers get connected to. */
async function startServer(lease: number, more: readonly string[] = []): Promise<void> {
  const path = (name: string) => join(bench.directory, name);
  const leases = path(`leases-${number++}`);
  writeFileSync(leases, '');
  const lines = [
    'start 10.50.0.20',
    'end 10.50.0.20',
    'interface br0',
    `lease_file ${leases}`,
    `pidfile ${path('udhcpd.pid')}`,
    'min_lease 1',
    'option subnet 255.255.255.0',
    'option router 10.50.0.1',
    `option lease ${lease}`,
    ...more,
  ];
  writeFileSync(path('udhcpd.conf'), `${lines.join('\n')}\n`);
  inside(undefined, 'ip', 'link', 'add', 'br0', 'type', 'bridge');
  inside(undefined, 'ip', 'addr', 'add', '10.50.0.1/24', 'dev', 'br0');
  inside(undefined, 'ip', 'link', 'set', 'br0', 'up');
  ours = new BuiltIn({ dhcpDirectory: records });
  server = spawn('busybox', ['udhcpd', '-f', path('udhcpd.conf')], { stdio: 'ignore' });
}

function config(ipam: object = {}): Config {
  return { type: 'bridge', bridge: 'br0', ipam: { type: 'dhcp', ...ipam } };
}

const options = () => ({ containerId: newContainerId(), netns: bench.namespace() });
const record = () => {
  const [name, ...others] = readdirSync(records).filter((one) => one.endsWith('.json'));
  expect(others).toEqual([]);
  return JSON.parse(readFileSync(join(records, name ?? ''), 'utf8'));
};

test('gets an address, and gives it back', async () => {
  await startServer(3600);
  const one = options();
  const result = await ours.add(config({ priority: 50 }), one);
  expect(result['ips']).toEqual([{ address: '10.50.0.20/24', gateway: '10.50.0.1', interface: 2 }]);
  expect(inside(one.netns, 'ip', 'route')).toContain('default via 10.50.0.1 dev eth0 metric 50');
  await ours.check(config(), { ...one, prevResult: result });
  await Promise.all([1, 2, 3].map(() => ours.del(config(), one)));
  await ours.del(config(), one);
  expect(readdirSync(records)).toEqual([]);
  // The only address of the server is free again only if it was given back.
  const two = options();
  expect((await ours.add(config(), two))['ips'][0].address).toBe('10.50.0.20/24');
  await ours.del(config(), two);
});

test('classless routes replace the router', async () => {
  const routes = '10.0.0.0/8 10.50.0.7, 192.0.2.128/25 10.50.0.8, 10.9.0.0/16 0.0.0.0';
  await startServer(3600, [`option staticroutes ${routes}`]);
  const one = options();
  const request = [{ option: '121' }, { option: 'routers' }];
  const result = await ours.add(config({ request }), one);
  expect(result['routes']).toEqual([
    { dst: '10.0.0.0/8', gw: '10.50.0.7' },
    { dst: '192.0.2.128/25', gw: '10.50.0.8' },
    { dst: '10.9.0.0/16' },
  ]);
  expect(inside(one.netns, 'ip', 'route')).toContain('10.9.0.0/16 dev eth0 scope link');
  await ours.check(config({ request }), { ...one, prevResult: result });
  await ours.del(config(), one);
});

/** To be renewed after two seconds, and long enough for a machine that is busy. */
const SOON = ['option 0x3a 00000002', 'option 0x3b 00000064'];

test('a lease is renewed', async () => {
  await startServer(200, SOON);
  const one = options();
  await ours.add(config(), one);
  const first = record().lease.expireAt;
  await expect.poll(() => record().lease.expireAt, { timeout: 20_000 }).toBeGreaterThan(first);
  await ours.del(config(), one);
  expect(readdirSync(records)).toEqual([]);
});

test('a lease of an earlier process is renewed and given back', async () => {
  await startServer(200, SOON);
  const one = options();
  const address = { type: 'static', addresses: [{ address: '10.50.0.9/24' }] };
  await ours.add({ ...config(), ipam: address }, one);
  using pod = NetworkNamespace.open(one.netns);
  const clientId = Buffer.from('\0earlier');
  const lease = await new DhcpClient(pod, 'eth0', new Map([[61, clientId]])).acquire(NEVER);
  const owner = { network: 'testnet', containerId: one.containerId, ifname: 'eth0' };
  const name = createHash('sha256')
    .update(JSON.stringify(Object.values(owner)))
    .digest('hex');
  writeFileSync(
    join(records, `${name.slice(0, 32)}.json`),
    JSON.stringify({
      ...owner,
      netns: one.netns,
      options: [[61, clientId.toString('hex')]],
      lease,
    }),
  );
  await ours.resume();
  await expect
    .poll(() => record().lease.expireAt, { timeout: 20_000 })
    .toBeGreaterThan(lease.expireAt);
  await ours.del(config(), one);
  expect(readdirSync(records)).toEqual([]);
});

test('an interface whose lease is over goes down', async () => {
  await startServer(4);
  const one = options();
  await ours.add(config(), one);
  await stopServer();
  const flags = () => JSON.parse(inside(one.netns, 'ip', '-json', 'link', 'show', 'eth0'))[0].flags;
  expect(flags()).toContain('UP');
  await expect.poll(flags, { timeout: 15_000 }).not.toContain('UP');
  await expect(ours.check(config(), { ...one, prevResult: {} })).rejects.toThrow('no DHCP lease');
  await ours.del(config(), one);
});

test('GC gives back what is not valid', async () => {
  await startServer(3600);
  const one = options();
  await ours.add(config(), one);
  const gc = (ids: string[]) =>
    ours.run('GC', {
      ...config(),
      'cni.dev/valid-attachments': ids.map((containerID) => ({ containerID, ifname: 'eth0' })),
    });
  await gc([one.containerId]);
  expect(readdirSync(records)).toHaveLength(1);
  await gc([]);
  expect(readdirSync(records)).toEqual([]);
  await ours.del(config(), one);
});

test('without an answer ADD ends with its signal, and nothing stays', async () => {
  await startServer(3600);
  await stopServer();
  const one = options();
  const signal = AbortSignal.timeout(300);
  await expect(ours.add(config(), { ...one, signal })).rejects.toMatchObject({
    name: 'TimeoutError',
  });
  expect(existsSync(records) ? readdirSync(records) : []).toEqual([]);
  await ours.del(config(), one);
});

/** What a client says in a frame; undefined in those of others. */
function decodeRequest(frame: Buffer): object | undefined {
  const bootp = frame.subarray(14 + 20 + 8);
  if (frame[23] !== 17 || frame.readUInt16BE(36) !== 67) return undefined;
  const options = new Map<number, string>();
  for (let at = 240; bootp[at] !== 255 && at < bootp.length; at += 2 + (bootp[at + 1] ?? 0)) {
    const value = bootp.subarray(at + 2, at + 2 + (bootp[at + 1] ?? 0));
    // The reference asks for parameters in any order.
    options.set(bootp[at] ?? 0, (bootp[at] === 55 ? value.sort() : value).toString('hex'));
  }
  const hex = (from: number, to: number) => bootp.subarray(from, to).toString('hex');
  return {
    type: options.get(53),
    ...{ to: frame.toString('hex', 0, 6), flags: hex(10, 12), clientIp: hex(12, 16) },
    ...{ mac: hex(28, 34), options: Object.fromEntries(options) },
  };
}

test('says what the reference says, and answers the same', async () => {
  await startServer(3600);
  const socket = join(bench.directory, 'dhcp.sock');
  const daemon = spawn(join(REFERENCE, 'dhcp'), ['daemon', '-socketpath', socket]);
  const [link] = JSON.parse(inside(undefined, 'ip', '-json', 'link', 'show', 'br0'));
  using capture = new PacketSocket(link.ifindex);
  const said = () => {
    const messages: (object | undefined)[] = [];
    for (let got = capture.receive(); got !== undefined; got = capture.receive()) {
      messages.push(decodeRequest(got));
    }
    // What was not answered at once was said again.
    const texts = messages.filter((one) => one !== undefined).map((one) => JSON.stringify(one));
    return [...new Set(texts)].map((text) => JSON.parse(text));
  };
  const all = {
    ...config({
      daemonSocketPath: socket,
      provide: [
        { option: 'host-name', value: 'web', fromArg: 'K8S_POD_NAME' },
        { option: '60', value: 'keel' },
      ],
      request: [{ option: '6' }, { option: 'routers', skipDefault: true }],
    }),
    // With another hardware address it would get another IP address.
    runtimeConfig: { mac: '02:00:00:00:50:01' },
  };
  const one = { ...options(), args: 'IgnoreUnknown=1;K8S_POD_NAME=web-0' };
  try {
    await expect.poll(() => existsSync(socket), { timeout: 20_000 }).toBe(true);
    const expected = runReference(ownHost(), 'ADD', all, one);
    const messages = said();
    runReference(ownHost(), 'DEL', all, one);
    said();
    const result = await ours.add(all, one);
    expect(comparable(result)).toEqual(comparable(expected));
    expect(said()).toEqual(messages);
    expect(messages).toMatchObject([{ type: '01' }, { type: '03' }]);
    await ours.del(all, one);
    // That of Debian's daemon, which looks for the interface on the host, never leaves.
    expect(said()).toMatchObject([{ type: '07', clientIp: '0a320014', mac: '020000005001' }]);
  } finally {
    daemon.kill('SIGKILL');
  }
}, 90_000);

test.each([
  ['is no DHCP option', { request: [{ option: 'nonsense' }] }],
  ['is no DHCP option', { provide: [{ option: '255', value: 'x' }] }],
  ['too long', { provide: [{ option: 'host-name', value: 'x'.repeat(256) }] }],
])('refuses a configuration: %s', async (message, ipam) => {
  await startServer(3600);
  await expect(ours.add(config(ipam), options())).rejects.toMatchObject({
    cniCode: 7,
    message: expect.stringContaining(message),
  });
});
