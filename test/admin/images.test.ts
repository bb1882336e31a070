import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { criSuite } from '../cri/suite.ts';
import { buildImage, buildLayer } from '../fixtures/image.ts';
import { freePort } from '../fixtures/registry.ts';
import { startDaemon, waitFor } from '../harness/index.ts';

const suite = criSuite();

function begin(method: string, path: string, options: RequestOptions = {}) {
  const socketPath = join(suite.daemon.paths.state, 'admin.sock');
  return request({ socketPath, method, path, ...options });
}

async function ask(method: string, path: string, body = ''): Promise<IncomingMessage> {
  const outgoing = begin(method, path);
  outgoing.end(body);
  const [response] = await once(outgoing, 'response');
  return response as IncomingMessage;
}

test.each([
  ['GET', '/images/explain', 400, 'INVALID_ARGUMENT'],
  ['GET', '/images/explain?reference=Bad%20Name', 400, 'INVALID_ARGUMENT'],
  ['GET', '/images/save', 400, 'INVALID_ARGUMENT'],
  ['GET', '/images/save?reference=absent', 404, 'NOT_FOUND'],
  ['GET', '/images/save?reference=absent&format=zip', 400, 'INVALID_ARGUMENT'],
  ['POST', '/images/load', 400, 'INVALID_ARGUMENT'],
  ['PUT', '/log-level', 400, 'INVALID_ARGUMENT'],
  ['DELETE', '/log-level', 405, 'UNIMPLEMENTED'],
  ['GET', '//', 404, 'UNIMPLEMENTED'],
])('%s %s answers %d %s', async (method, path, status, code) => {
  const response = await ask(method, path);
  expect(response.headers['content-type']).toBe('application/json');
  expect(JSON.parse(await text(response))).toMatchObject({ code, message: expect.any(String) });
  expect(response.statusCode).toBe(status);
});

test('an archive that is too large is refused before it is sent', async () => {
  const outgoing = begin('POST', '/images/load', { headers: { 'Content-Length': 1e15 } });
  outgoing.on('error', () => {});
  outgoing.flushHeaders();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  expect(response.statusCode).toBe(507);
  expect(JSON.parse(await text(response))).toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
  outgoing.destroy();
});

test('a client that breaks off its archive leaves nothing behind', async () => {
  const spool = join(suite.daemon.paths.root, 'images/spool');
  const outgoing = begin('POST', '/images/load');
  outgoing.on('error', () => {});
  outgoing.write(randomBytes(1 << 20));
  await waitFor('what was sent', async () => (await readdir(spool)).length > 0);
  outgoing.destroy();
  await waitFor('an empty directory', async () => (await readdir(spool)).length === 0);
});

test('an archive is read no faster than its client reads, and not at all when it has gone', async () => {
  const content = randomBytes(96 << 20);
  const layers = [buildLayer([{ path: 'big', content }], { compression: 'none' })];
  const image = await suite.add('large', buildImage({ layers }));
  const path = `/images/save?reference=${encodeURIComponent(image)}`;
  // The first brings the layer, which is kept unpacked only.
  await finished((await ask('GET', path)).resume());
  const before = await bytesRead();
  const response = await ask('GET', path);
  await sleep(500);
  expect((await bytesRead()) - before).toBeLessThan(48 << 20);
  expect(await openBlobs()).toHaveLength(1);
  response.destroy();
  await waitFor('the end of the work', async () => (await openBlobs()).length === 0);
});

async function bytesRead(): Promise<number> {
  const io = await readFile(`/proc/${suite.daemon.pid}/io`, 'utf8');
  return Number(/^rchar: (\d+)$/m.exec(io)?.[1]);
}

async function openBlobs(): Promise<string[]> {
  const directory = `/proc/${suite.daemon.pid}/fd`;
  const targets = (await readdir(directory)).map((fd) =>
    readlink(join(directory, fd)).catch(() => ''),
  );
  return (await Promise.all(targets)).filter((target) => target.includes('/images/blobs/'));
}

test('over TCP numbers are shown, and nothing is changed or handed out', async () => {
  const port = await freePort();
  const address = `tcp://127.0.0.1:${port}`;
  await using _daemon = await startDaemon({
    network: 'none',
    config: `[admin]\naddress = "${address}"\n`,
  });
  const url = address.replace('tcp', 'http');
  expect((await fetch(`${url}/metrics`)).status).toBe(200);
  expect((await fetch(`${url}/log-level`)).status).toBe(200);
  for (const [method, path] of [
    ['PUT', '/log-level'],
    ['POST', '/images/load'],
    ['POST', '/images/prune'],
    ['GET', '/images/save?reference=x'],
    ['GET', '/images/explain?reference=x'],
  ] as const) {
    const response = await fetch(url + path, { method, body: method === 'GET' ? null : 'debug' });
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ code: 'PERMISSION_DENIED' });
  }
});
