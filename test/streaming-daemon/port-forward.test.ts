import { once } from 'node:events';
import { beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { NamespaceMode } from '../../src/gen/runtime/v1/api.ts';
import { codeOf, criSuite, execIn, shell } from '../cri/suite.ts';
import { containerConfig, type Pod, runContainer, runPod, waitFor } from '../harness/index.ts';
import { startListener } from '../streaming/listener.ts';
import { SpdyClient } from '../streaming/spdy-client.ts';

const suite = criSuite();
let pod: Pod;

beforeAll(async () => {
  pod = await runPod(suite.daemon);
});

const namespaceOf = ({ id }: Pod) => `/run/netns/keelson-${id.slice(0, 16)}`;

async function forward({ id }: Pod, ports: number[] = []): Promise<SpdyClient> {
  const { url } = await suite.daemon.runtime.portForward({ podSandboxId: id, port: ports });
  return SpdyClient.connect(url, ['portforward.k8s.io']);
}

async function pair(client: SpdyClient, requestid: string, port: number) {
  const headers = { port: String(port), requestid };
  const error = await client.open({ streamtype: 'error', ...headers });
  client.data(error, '', true);
  return { error, data: await client.open({ streamtype: 'data', ...headers }) };
}

test.each(['127.0.0.1', '::1'])('to %s in the pod, with half-close', async (host) => {
  using listener = await startListener({ path: namespaceOf(pod), host });
  const client = await forward(pod);
  const { data, error } = await pair(client, '1', listener.port);
  client.data(data, 'one ');
  client.data(data, 'two', true);
  await client.until(() => data.ended && error.ended);
  expect(data.text).toBe('one two');
  expect(error.text).toBe('');
  client.close();
});

describe('one session', () => {
  test('carries many connections, and survives a port without a listener', async () => {
    using listener = await startListener({ path: namespaceOf(pod) });
    const client = await forward(pod);
    const many = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        const connection = await pair(client, `r${i}`, listener.port);
        client.data(connection.data, `content ${i}`, true);
        return connection;
      }),
    );
    await client.until(() => many.every(({ data }) => data.ended));
    expect(many.map(({ data }) => data.text)).toEqual(many.map((_, i) => `content ${i}`));
    const refused = await pair(client, 'refused', 9);
    await client.until(() => refused.error.ended);
    expect(refused.error.text).toContain('Cannot connect to port 9');
    const after = await pair(client, 'after', listener.port);
    client.data(after.data, 'still here', true);
    await client.until(() => after.data.ended);
    expect(after.data.text).toBe('still here');
    client.close();
  });

  test('carries 20 MB each way', { timeout: 60_000 }, async () => {
    using listener = await startListener({ path: namespaceOf(pod) });
    const client = await forward(pod);
    client.keep = false;
    const { data } = await pair(client, '1', listener.port);
    for (let i = 0; i < 400; i++) client.data(data, Buffer.alloc(50_000, 'x'), i === 399);
    await client.until(() => data.ended);
    expect(data.bytes).toBe(20_000_000);
    client.close();
  });
});

test("a pod on the host's network", async () => {
  const onHost = await runPod(suite.daemon, {
    linux: {
      securityContext: {
        namespaceOptions: { network: NamespaceMode.NODE, pid: NamespaceMode.CONTAINER },
      },
    },
  });
  using listener = await startListener({});
  const client = await forward(onHost);
  const { data } = await pair(client, '1', listener.port);
  client.data(data, 'hello', true);
  await client.until(() => data.ended);
  expect(data.text).toBe('hello');
  client.close();
});

test('another pod cannot be reached, nor one that is stopped', async () => {
  const other = await runPod(suite.daemon);
  using listener = await startListener({ path: namespaceOf(pod) });
  const client = await forward(other);
  const { error } = await pair(client, '1', listener.port);
  await client.until(() => error.ended);
  expect(error.text).toContain('Cannot connect');
  await suite.daemon.runtime.stopPodSandbox({ podSandboxId: other.id });
  const stopped = await pair(client, '2', listener.port);
  await client.until(() => stopped.error.ended);
  expect(stopped.error.text).toContain('not ready');
  client.close();
  expect(await codeOf(suite.daemon.runtime.portForward({ podSandboxId: other.id }))).toBe(
    'FAILED_PRECONDITION',
  );
});

/** A container that echoes what comes to port 8080. */
async function echoes(inPod: Pod): Promise<string> {
  const script = 'busybox nc -ll -p 8080 -e /bin/busybox cat';
  const id = await runContainer(suite.daemon, inPod, containerConfig(suite.image, shell(script)));
  await waitFor('the listener', async () =>
    (await execIn(suite.daemon, id, 'busybox netstat -ltn')).includes(':8080 '),
  );
  return id;
}

test('when a pod stops, its connections end, and clients learn why', async () => {
  const other = await runPod(suite.daemon);
  await echoes(other);
  const client = await forward(other);
  const { data, error } = await pair(client, '1', 8080);
  client.data(data, 'hello');
  await client.until(() => data.text === 'hello');
  const { url } = await suite.daemon.runtime.portForward({ podSandboxId: other.id, port: [8080] });
  const webSocket = new WebSocket(url.replace('http', 'ws'), 'v4.channel.k8s.io');
  let told = '';
  webSocket.on('message', (message: Buffer) => {
    if (message[0] === 1) told += message.toString('utf8', 1);
  });
  await once(webSocket, 'open');
  await waitFor('the connection', async () => told.length === 2);
  const closed = once(webSocket, 'close');
  await suite.daemon.runtime.stopPodSandbox({ podSandboxId: other.id });
  await client.until(() => error.ended);
  expect(error.text).toContain('it was stopped');
  await closed;
  expect(told).toContain('it was stopped');
  client.close();
});

test('when a container ends, its connections end, and the session goes on', async () => {
  const id = await echoes(pod);
  const client = await forward(pod);
  const { data, error } = await pair(client, '1', 8080);
  client.data(data, 'hello');
  await client.until(() => data.text === 'hello');
  await suite.daemon.runtime.stopContainer({ containerId: id });
  // What the client has not ended itself stays open for it, as with any half-closed connection.
  await client.until(() => data.ended || error.ended);
  client.data(data, '', true);
  await client.until(() => error.ended);
  using listener = await startListener({ path: namespaceOf(pod) });
  const after = await pair(client, '2', listener.port);
  client.data(after.data, 'still here', true);
  await client.until(() => after.data.ended);
  expect(after.data.text).toBe('still here');
  client.close();
});

test('connections leave no descriptor in the daemon', async () => {
  const { readdir } = await import('node:fs/promises');
  using listener = await startListener({ path: namespaceOf(pod) });
  const count = async () => (await readdir(`/proc/${suite.daemon.pid}/fd`)).length;
  const round = async (connections: number) => {
    const client = await forward(pod);
    for (let i = 0; i < connections; i++) {
      const { data } = await pair(client, `r${i}`, listener.port);
      client.data(data, 'x', i % 2 === 0);
      if (i % 2 === 0) await client.until(() => data.ended);
    }
    client.close();
  };
  await round(4);
  const before = await count();
  await round(100);
  await waitFor('no more descriptors', async () => (await count()) <= before + 1);
});
