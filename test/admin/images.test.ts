import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
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

test('a slow reader of an archive does not make the daemon hold it', async () => {
  const content = randomBytes(96 << 20);
  const layers = [buildLayer([{ path: 'big', content }], { compression: 'none' })];
  const image = await suite.add('large', buildImage({ layers }));
  const response = await ask('GET', `/images/save?reference=${encodeURIComponent(image)}`);
  expect(response.statusCode).toBe(200);
  const before = await residentBytes();
  await sleep(1000);
  expect((await residentBytes()) - before).toBeLessThan(48 << 20);
  response.destroy();
  // What was read for a client that has gone is held no longer.
  await suite.daemon.images.removeImage({ image: { image } });
});

async function residentBytes(): Promise<number> {
  const status = await readFile(`/proc/${suite.daemon.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
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
