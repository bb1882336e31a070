import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { buildImage, buildLayer, type FixtureImage } from '../fixtures/image.ts';
import { ScriptedRegistry } from '../fixtures/scripted-registry.ts';
import { TestStore } from './store-fixture.ts';

let registry: ScriptedRegistry;
let directory: string;

beforeEach(async () => {
  registry = await ScriptedRegistry.start();
  directory = mkdtempSync(join(tmpdir(), 'keelson-transfers-'));
});
afterEach(async () => {
  await registry[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

function imageOf(name: string, layers: number): FixtureImage {
  return buildImage({
    layers: Array.from({ length: layers }, (_, index) =>
      buildLayer([{ path: `${name}-${index}`, content: name }]),
    ),
  });
}

/** Holds layers back until `count` are asked for, and a moment longer; answers how many ever were at a time. */
function gather(images: readonly FixtureImage[], count: number): { most: number } {
  const seen = { most: 0 };
  const digests = images.flatMap(({ layers }) => layers.map(({ descriptor }) => descriptor.digest));
  let waiting: (() => void)[] = [];
  registry.onCall(async (call) => {
    if (!digests.some((digest) => call.url.endsWith(digest))) return undefined;
    await new Promise<void>((resolve) => {
      waiting.push(resolve);
      seen.most = Math.max(seen.most, waiting.length);
      if (waiting.length !== count) return;
      setTimeout(() => {
        for (const release of waiting) release();
        waiting = [];
      }, 50);
    });
    return undefined;
  });
  return seen;
}

describe('layers at a time', () => {
  test.each([1, 2, 3])('%i of one image', async (parallelLayers) => {
    const image = imageOf('one', 6);
    registry.add('one', 'latest', image);
    const seen = gather([image], parallelLayers);
    await using store = await TestStore.open({ parallelLayers });
    await store.pull(`${registry.host}/one`);
    expect(seen.most).toBe(parallelLayers);
  });

  test.each([1, 3])('%i of all images', async (parallelDownloads) => {
    const images = ['a', 'b'].map((name) => {
      const image = imageOf(name, 3);
      registry.add(name, 'latest', image);
      return image;
    });
    const seen = gather(images, parallelDownloads);
    await using store = await TestStore.open({ parallelLayers: 3, parallelDownloads });
    await Promise.all(['a', 'b'].map((name) => store.pull(`${registry.host}/${name}`)));
    expect(seen.most).toBe(parallelDownloads);
  });
});

describe('answers without an end', () => {
  const endless: Parameters<ScriptedRegistry['onCall']>[0] = (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const timer = setInterval(() => response.write(Buffer.alloc(1_000_000, ' ')), 1);
    response.on('close', () => clearInterval(timer));
    return true;
  };

  test('for a manifest', async () => {
    registry.onCall(endless);
    await using store = await TestStore.open();
    await expect(store.pull(`${registry.host}/app`)).rejects.toMatchObject({
      code: 'OUT_OF_RANGE',
      message: expect.stringContaining('larger than'),
    });
  });

  test('for a configuration', async () => {
    const image = imageOf('app', 1);
    registry.add('app', 'latest', image);
    registry.onCall((call, response, content) =>
      call.url.endsWith(image.configDescriptor.digest)
        ? endless(call, response, content)
        : undefined,
    );
    await using store = await TestStore.open();
    await expect(store.pull(`${registry.host}/app`)).rejects.toMatchObject({
      code: 'OUT_OF_RANGE',
    });
  });

  test('for a token, and for an error', async () => {
    await using tokens = await ScriptedRegistry.start();
    tokens.onCall(endless);
    registry.onCall((call, response, content) => {
      if (call.url.includes('/bad/')) {
        response.statusCode = 404;
        const { writeHead } = response;
        response.writeHead = (() => writeHead.call(response, 404)) as typeof writeHead;
        return endless(call, response, content);
      }
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${tokens.url}/token"` });
      response.end();
      return true;
    });
    await using store = await TestStore.open();
    await expect(store.pull(`${registry.host}/app`)).rejects.toMatchObject({
      code: 'OUT_OF_RANGE',
    });
    await expect(store.pull(`${registry.host}/bad/app`)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });
});

/** A server that takes no connection: its thread sleeps, and its queue is full. */
async function startDeaf(): Promise<{ host: string } & AsyncDisposable> {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads');
     const server = require('node:net').createServer();
     server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
     });`,
    { eval: true },
  );
  const port = await new Promise<number>((resolve) => worker.once('message', resolve));
  const sockets: Socket[] = [];
  for (let full = false; !full; ) {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    sockets.push(socket);
    full = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(true), 300);
      socket.once('connect', () => {
        clearTimeout(timer);
        resolve(false);
      });
    });
  }
  return {
    host: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await worker.terminate();
    },
  };
}

test('a mirror that takes no connection is left after its dial_timeout', async () => {
  const image = imageOf('app', 1);
  registry.add('app', 'latest', image);
  await using deaf = await startDeaf();
  mkdirSync(join(directory, 'registry.test'));
  writeFileSync(
    join(directory, 'registry.test/hosts.toml'),
    `server = "${registry.url}"\n[host."http://${deaf.host}"]\ndial_timeout = "100ms"\ncapabilities = ["resolve"]\n`,
  );
  // The usual 30 seconds are longer than the test may take.
  await using store = await TestStore.open({ registry: { certsDir: directory } });
  expect((await store.pull('registry.test/app')).id).toBe(image.id);
  expect(registry.calls.length).toBeGreaterThan(0);
});

describe('a proxy of the environment', () => {
  const names = ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'no_proxy', 'NO_PROXY'];
  const before = names.map((name) => [name, process.env[name]] as const);
  afterEach(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });

  test('is asked for registries elsewhere, and not for this machine', async () => {
    const image = imageOf('app', 1);
    registry.add('app', 'latest', image);
    await using proxy = await ScriptedRegistry.start();
    proxy.add('app', 'latest', image);
    proxy.mountAt('http://registry.test/v2');
    for (const name of names) delete process.env[name];
    process.env['http_proxy'] = proxy.url;
    mkdirSync(join(directory, 'registry.test'));
    writeFileSync(join(directory, 'registry.test/hosts.toml'), 'server = "http://registry.test"\n');
    await using store = await TestStore.open({ registry: { certsDir: directory } });
    expect((await store.pull('registry.test/app')).id).toBe(image.id);
    const [first, ...others] = proxy.calls.splice(0);
    expect(first?.url).toBe('http://registry.test/v2/app/manifests/latest');
    expect([others.length > 0, registry.calls]).toEqual([true, []]);
    await store.pull(`${registry.host}/app`);
    expect([registry.calls.length > 0, proxy.calls]).toEqual([true, []]);
  });
});
