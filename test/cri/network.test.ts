import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect as dial } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, test } from 'vitest';
import { type DeepPartial, type PodSandboxConfig, Protocol } from '../../src/gen/runtime/v1/api.ts';
import { freePort } from '../fixtures/registry.ts';
import {
  containerConfig,
  type Daemon,
  type Pod,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { gvisorDiffers } from './gvisor-limits.ts';
import { codeOf, criSuite, execIn, shell } from './suite.ts';

const suite = criSuite();

/** A pod with a container that sleeps. */
async function sleeper(changes: DeepPartial<PodSandboxConfig> = {}) {
  const pod = await runPod(suite.daemon, changes);
  return { pod, id: await runContainer(suite.daemon, pod, containerConfig(suite.image)) };
}

async function addressOf(daemon: Daemon, pod: Pod): Promise<string> {
  const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
  return status!.network!.ip;
}

/** A pod with a web server on port 80. */
async function webServer(changes: DeepPartial<PodSandboxConfig> = {}) {
  const pod = await runPod(suite.daemon, changes);
  const server = containerConfig(suite.image, {
    ...shell('cd /var/www; exec httpd -f -p 80'),
  });
  await runContainer(suite.daemon, pod, server);
  return { pod, ip: await addressOf(suite.daemon, pod) };
}

function pageAt(host: string, port = 80): Promise<string> {
  return waitFor(
    `a page at ${host}:${port}`,
    async () => (await fetch(`http://${host}:${port}/`)).text(),
    20_000,
  );
}

let web: { pod: Pod; ip: string };
beforeAll(async () => {
  web = await webServer();
});

test('a pod has the address of its status on eth0, and loopback', async () => {
  const { pod, id } = await sleeper();
  const ip = await addressOf(suite.daemon, pod);
  expect(await execIn(suite.daemon, id, 'ip -4 addr show eth0')).toContain(`inet ${ip}/24`);
  expect(await execIn(suite.daemon, id, 'ip addr show lo')).toMatch(/inet 127\.0\.0\.1\/8/);
  expect(await execIn(suite.daemon, id, 'ip route')).toContain(
    `default via ${suite.daemon.network!.gateway}`,
  );
});

test('the host reaches a pod, one pod another, and a pod the host', gvisorDiffers, async () => {
  expect(await pageAt(web.ip)).toContain('Keelson');
  const { id } = await sleeper();
  expect(await execIn(suite.daemon, id, `wget -qO- http://${web.ip}/`)).toContain('Keelson');
  expect(
    await execIn(suite.daemon, id, `ping -c 1 -W 5 ${suite.daemon.network!.gateway} | grep -c ttl`),
  ).toBe('1');
});

test('containers of one pod reach each other over loopback', gvisorDiffers, async () => {
  const id = await runContainer(suite.daemon, web.pod, containerConfig(suite.image));
  expect(await execIn(suite.daemon, id, 'wget -qO- http://127.0.0.1/')).toContain('Keelson');
});

/** An address of this machine that is not loopback. */
function hostAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)!.address;
}

test('a host port leads to the pod until the pod is stopped', async () => {
  const hostPort = await freePort();
  const { pod } = await webServer({
    portMappings: [{ protocol: Protocol.TCP, containerPort: 80, hostPort }],
  });
  expect(await pageAt(hostAddress(), hostPort)).toContain('Keelson');
  expect(await pageAt('127.0.0.1', hostPort)).toContain('Keelson');
  await suite.daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
  await expect(fetch(`http://${hostAddress()}:${hostPort}/`)).rejects.toThrow();
});

/** Answers what comes in by UDP on port 5353 with the same. */
const ECHO = `
  const socket = require('node:dgram').createSocket('udp4');
  socket.on('message', (text, { port, address }) => socket.send(text, port, address));
  socket.bind(5353);
`;

test('a host port may be of UDP, and of one address', async () => {
  const hostPort = await freePort();
  const pod = await runPod(suite.daemon, {
    portMappings: [
      { protocol: Protocol.UDP, containerPort: 5353, hostPort },
      { protocol: Protocol.TCP, containerPort: 80, hostPort, hostIp: hostAddress() },
    ],
  });
  const namespace = `keelson-${pod.id.slice(0, 16)}`;
  const server = spawn('ip', ['netns', 'exec', namespace, process.execPath, '-e', ECHO]);
  const socket = createSocket('udp4');
  try {
    const echoed = once(socket, 'message');
    const answer = await waitFor('an answer', () => {
      socket.send('hello', hostPort, hostAddress());
      return Promise.race([echoed, sleep(200)]);
    });
    expect(String((answer as unknown[])[0])).toBe('hello');
  } finally {
    socket.close();
    server.kill('SIGKILL');
    await once(server, 'exit');
  }
  expect(await refusedAt('127.0.0.1', hostPort)).toBe('ECONNREFUSED');
});

function refusedAt(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = dial({ host, port }, () => {
      socket.destroy();
      resolve('connected');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
  });
}

test('port mappings that cannot be are refused; a container port alone maps nothing', async () => {
  const attempt = (mapping: object) =>
    codeOf(runPod(suite.daemon, { portMappings: [{ containerPort: 80, ...mapping }] }));
  expect(await attempt({ hostPort: 70000 })).toBe('INVALID_ARGUMENT');
  expect(await attempt({ hostPort: -1 })).toBe('INVALID_ARGUMENT');
  expect(await attempt({ hostPort: 8080, containerPort: 0 })).toBe('INVALID_ARGUMENT');
  expect(await attempt({ hostPort: 8080, hostIp: 'localhost' })).toBe('INVALID_ARGUMENT');
  expect(await attempt({ hostPort: 8080, protocol: 9 })).toBe('INVALID_ARGUMENT');
  expect(await attempt({})).toBe('OK');
});

test('resolv.conf is made of the DNS config', async () => {
  const { id } = await sleeper({
    dnsConfig: {
      servers: ['10.96.0.10', '10.96.0.11'],
      searches: ['default.svc.cluster.local', 'cluster.local'],
      options: ['ndots:5', 'edns0'],
    },
  });
  expect(await execIn(suite.daemon, id, 'cat /etc/resolv.conf')).toBe(
    [
      'search default.svc.cluster.local cluster.local',
      'nameserver 10.96.0.10',
      'nameserver 10.96.0.11',
      'options ndots:5 edns0',
    ].join('\n'),
  );
});

test("without a DNS config resolv.conf is the host's; an empty one is empty", async () => {
  const own = await sleeper();
  const text = await readFile('/etc/resolv.conf', 'utf8');
  const seen = await execIn(suite.daemon, own.id, 'cat /etc/resolv.conf');
  expect(seen.trimEnd()).toBe(text.trimEnd());
  const empty = await sleeper({ dnsConfig: {} });
  expect(await execIn(suite.daemon, empty.id, 'cat /etc/resolv.conf')).toBe('');
});

test('what is no line of resolv.conf is refused', async () => {
  const dns = (dnsConfig: object) => codeOf(runPod(suite.daemon, { dnsConfig }));
  expect(await dns({ servers: ['10.0.0.1\nnameserver 10.6.6.6'] })).toBe('INVALID_ARGUMENT');
  expect(await dns({ searches: ['a\0b'] })).toBe('INVALID_ARGUMENT');
});

test('a pod has the host name given, in the kernel, in /etc/hostname and in HOSTNAME', async () => {
  const { id } = await sleeper({ hostname: 'web-0' });
  const script = 'hostname; cat /etc/hostname; echo $HOSTNAME; uname -n';
  expect(await execIn(suite.daemon, id, script)).toBe('web-0\nweb-0\nweb-0\nweb-0');
  const none = await sleeper({ hostname: '' });
  expect(await execIn(suite.daemon, none.id, 'hostname; cat /etc/hostname')).toBe(
    `${hostname()}\n${hostname()}`,
  );
});

test('a host name that cannot be is refused', async () => {
  expect(await codeOf(runPod(suite.daemon, { hostname: 'x'.repeat(64) }))).toBe('OK');
  expect(await codeOf(runPod(suite.daemon, { hostname: 'x'.repeat(65) }))).toBe('INVALID_ARGUMENT');
  expect(await codeOf(runPod(suite.daemon, { hostname: 'a\nb' }))).toBe('INVALID_ARGUMENT');
});

test("/etc/hosts is a copy of the host's, of the pod's own", async () => {
  const { pod, id } = await sleeper();
  const text = await readFile('/etc/hosts', 'utf8');
  expect(await execIn(suite.daemon, id, 'cat /etc/hosts')).toBe(text.replace(/\n$/, ''));
  await execIn(suite.daemon, id, 'echo "10.1.2.3 other" >> /etc/hosts');
  expect(await readFile('/etc/hosts', 'utf8')).toBe(text);
  const second = await runContainer(suite.daemon, pod, containerConfig(suite.image));
  expect(await execIn(suite.daemon, second, 'tail -1 /etc/hosts')).toBe('10.1.2.3 other');
});

test('each pod has an address of its own', async () => {
  const pods = await Promise.all([1, 2, 3, 4].map(() => runPod(suite.daemon)));
  const ips = await Promise.all(pods.map((pod) => addressOf(suite.daemon, pod)));
  expect(new Set(ips).size).toBe(4);
});
