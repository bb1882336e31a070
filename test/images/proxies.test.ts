import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { makeCertificates } from '../fixtures/certificates.ts';
import { ConnectProxy } from '../fixtures/connect-proxy.ts';
import { buildImage, buildLayer } from '../fixtures/image.ts';
import { ScriptedRegistry } from '../fixtures/scripted-registry.ts';
import { TestStore } from './store-fixture.ts';

// Names that nobody knows but the proxy.
const SECURE = 'registry.test';
const PLAIN = 'plain.test:5000';
const image = buildImage({ layers: [buildLayer([{ path: 'f', content: 'x'.repeat(100_000) }])] });

let directory: string;
let secure: ScriptedRegistry;
let plain: ScriptedRegistry;
let proxy: ConnectProxy;
let plainProxy: ConnectProxy;
let registry: { certsDir: string; attempts: number; stallTimeout: number };

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'keelson-proxies-'));
  const { key, cert } = makeCertificates(directory, `DNS:${SECURE}`);
  secure = await ScriptedRegistry.start({ key, cert });
  plain = await ScriptedRegistry.start();
  for (const each of [secure, plain]) each.add('app', 'latest', image);
  proxy = await ConnectProxy.start(portOf(secure));
  plainProxy = await ConnectProxy.start(portOf(plain));
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) {
    vi.stubEnv(name, '');
    vi.stubEnv(name.toLowerCase(), undefined);
  }
  const certsDir = join(directory, 'certs.d');
  registry = { certsDir, attempts: 2, stallTimeout: 10_000 };
  hosts(SECURE, `server = "https://${SECURE}"\nca = "${join(directory, 'ca.crt')}"\n`);
  hosts(PLAIN, `server = "http://${PLAIN}"\n`);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const each of [proxy, plainProxy, secure, plain]) await each[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

function portOf({ host }: ScriptedRegistry): number {
  return Number(host.split(':')[1]);
}

function hosts(host: string, text: string): void {
  mkdirSync(join(directory, 'certs.d', host), { recursive: true });
  writeFileSync(join(directory, 'certs.d', host, 'hosts.toml'), text);
}

test('a registry with TLS is reached through HTTPS_PROXY, by CONNECT', async () => {
  vi.stubEnv('HTTPS_PROXY', proxy.url.replace('//', '//user:pa%2Fss@'));
  await using store = await TestStore.open({ registry });
  expect((await store.pull(`${SECURE}/app`)).id).toBe(image.id);
  expect([...new Set(proxy.asked)]).toEqual([`CONNECT ${SECURE}:443`]);
  expect(proxy.authorization).toBe(`Basic ${btoa('user:pa/ss')}`);
  expect(secure.callsFor('GET', '/blobs/').length).toBeGreaterThan(1);
});

test('its certificate is verified all the same', async () => {
  vi.stubEnv('HTTPS_PROXY', proxy.url);
  hosts(SECURE, `server = "https://${SECURE}"\n`);
  await using store = await TestStore.open({ registry });
  await expect(store.pull(`${SECURE}/app`)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringMatching(/self-signed|unable to/),
  });
});

test('a registry without TLS is asked for through HTTP_PROXY, without a tunnel', async () => {
  vi.stubEnv('HTTP_PROXY', plainProxy.url);
  await using store = await TestStore.open({ registry });
  expect((await store.pull(`${PLAIN}/app`)).id).toBe(image.id);
  for (const each of plainProxy.asked) expect(each).toMatch(`http://${PLAIN}/v2/app/`);
});

test('what NO_PROXY names, and this machine, are asked directly', async () => {
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY']) vi.stubEnv(name, proxy.url);
  vi.stubEnv('NO_PROXY', `.example,${SECURE}`);
  await using store = await TestStore.open({ registry: { ...registry, attempts: 1 } });
  await expect(store.pull(`${SECURE}/app`)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringMatching(/ENOTFOUND|EAI_AGAIN/),
  });
  expect((await store.pull(`${plain.host}/app`)).id).toBe(image.id);
  expect(proxy.asked).toEqual([]);
});

test.each([403, 407])(
  'a proxy that refuses with %i fails the pull, and is named',
  async (status) => {
    proxy.behaviour = status;
    vi.stubEnv('HTTPS_PROXY', proxy.url.replace('//', '//user:hidden@'));
    await using store = await TestStore.open({ registry });
    const failure = await store.pull(`${SECURE}/app`).catch((error: Error) => error);
    expect(failure).toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining(`the proxy answered ${status}`),
    });
    expect(String(failure)).not.toContain('hidden');
    expect(secure.calls).toEqual([]);
  },
);

test.each([SECURE, PLAIN])('a proxy that never answers for %s is given up', async (host) => {
  for (const each of [proxy, plainProxy]) each.behaviour = 'hang';
  vi.stubEnv('HTTPS_PROXY', proxy.url);
  vi.stubEnv('HTTP_PROXY', plainProxy.url);
  await using store = await TestStore.open({ registry: { ...registry, stallTimeout: 300 } });
  await expect(store.pull(`${host}/app`)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('does not answer'),
  });
});
