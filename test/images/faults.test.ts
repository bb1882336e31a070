import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { mount, unmount } from '../../src/linux/index.ts';
import {
  buildImage,
  buildIndex,
  buildLayer,
  digestOf,
  type FixtureImage,
} from '../fixtures/image.ts';
import { freePort } from '../fixtures/registry.ts';
import { ScriptedRegistry, serve } from '../fixtures/scripted-registry.ts';
import { TestStore, type TestStoreOptions } from './store-fixture.ts';

let registry: ScriptedRegistry;
let image: FixtureImage;
let name: string;
let blob: Buffer;
let blobPath: string;

beforeEach(async () => {
  registry = await ScriptedRegistry.start();
  // Random content does not shrink: the blob takes several chunks of a transfer.
  image = buildImage({ layers: [buildLayer([{ path: 'f', content: randomBytes(1_000_000) }])] });
  registry.add('app', 'latest', image);
  name = `${registry.host}/app`;
  blob = image.layers[0]!.blob;
  blobPath = `/blobs/${image.layers[0]!.descriptor.digest}`;
});
afterEach(() => registry[Symbol.asyncDispose]());

/** A store in which nothing may be left after a failure but the beginning of a blob. */
async function failingPull(expected: object, options: TestStoreOptions = {}): Promise<void> {
  await using test = await TestStore.open(options);
  await expect(test.pull(name)).rejects.toMatchObject(expected);
  expect(test.store.list()).toEqual([]);
  expect(readdirSync(join(test.root, 'l'))).toEqual([]);
  // The next pull works.
  registry.onCall(() => undefined);
  expect((await test.pull(name)).id).toBe(image.id);
}

describe('answers', () => {
  test.each([
    [401, 'UNAUTHENTICATED', /^Cannot pull image/],
    [403, 'PERMISSION_DENIED', /^Cannot pull image/],
    [404, 'NOT_FOUND', /answered 404: MANIFEST_UNKNOWN no such thing/],
    [429, 'UNAVAILABLE', /^RegistryUnavailable: cannot pull image/],
    [500, 'UNAVAILABLE', /^RegistryUnavailable: cannot pull image/],
    [503, 'UNAVAILABLE', /^RegistryUnavailable: cannot pull image/],
    [418, 'UNKNOWN', /answered 418/],
  ])('%i', async (status, code, message) => {
    registry.onCall((_, response) => {
      response.writeHead(status);
      response.end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such\\u0007thing"}]}');
      return true;
    });
    await failingPull({ code, message: expect.stringMatching(message) });
  });

  test.each([429, 500, 503])('%i that pass', async (status) => {
    let failures = 0;
    registry.onCall((_, response) => {
      if (failures++ % 2 !== 0) return undefined;
      response.writeHead(status, { 'retry-after': '0' });
      response.end();
      return true;
    });
    await using test = await TestStore.open();
    expect((await test.pull(name)).id).toBe(image.id);
  });

  test('Retry-After is waited for', async () => {
    const times: number[] = [];
    registry.onCall((call, response) => {
      if (!call.url.includes('/manifests/')) return undefined;
      times.push(Date.now());
      if (times.length > 1) return undefined;
      response.writeHead(429, { 'retry-after': '1' });
      response.end();
      return true;
    });
    await using test = await TestStore.open();
    await test.pull(name);
    expect(times[1]! - times[0]!).toBeGreaterThanOrEqual(990);
  });

  test('nobody listens', async () => {
    await using test = await TestStore.open();
    await expect(test.pull(`127.0.0.1:${await freePort()}/app`)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/^RegistryUnavailable: .*ECONNREFUSED/),
    });
  });

  test('the connection breaks in the middle of the headers', async () => {
    registry.onCall((_, response) => {
      response.socket?.end('HTTP/1.1 200 OK\r\nContent-Le');
      return true;
    });
    await failingPull({ code: 'UNAVAILABLE' });
  });
});

describe('blobs', () => {
  /** Answers requests for the blob instead of the registry, `times` times. */
  function onBlob(times: number, answer: Parameters<ScriptedRegistry['onCall']>[0]): void {
    let left = times;
    registry.onCall((call, response, content) => {
      if (!call.url.includes(blobPath) || left-- <= 0) return undefined;
      return answer(call, response, content);
    });
  }

  test('a transfer that breaks off is resumed where it ended', async () => {
    onBlob(1, (_, response) => {
      response.writeHead(200, { 'content-length': blob.length });
      response.write(blob.subarray(0, 400_000));
      setTimeout(() => response.destroy(), 50);
      return true;
    });
    await using test = await TestStore.open();
    await test.pull(name);
    const ranges = registry.callsFor('GET', blobPath).map(({ headers }) => headers.range);
    expect(ranges).toEqual([undefined, 'bytes=400000-']);
  });

  test('a registry that ignores Range sends all again, of which the rest is taken', async () => {
    let calls = 0;
    registry.onCall((call, response) => {
      if (!call.url.includes(blobPath)) return undefined;
      const first = calls++ === 0;
      response.writeHead(200, { 'content-length': blob.length });
      if (first) {
        response.write(blob.subarray(0, 300_001));
        setTimeout(() => response.destroy(), 50);
      } else response.end(blob);
      return true;
    });
    await using test = await TestStore.open();
    expect((await test.pull(name)).id).toBe(image.id);
  });

  test('a download is resumed after a restart', async () => {
    registry.onCall((call, response) => {
      if (!call.url.includes(blobPath)) return undefined;
      response.writeHead(200, { 'content-length': blob.length });
      response.write(blob.subarray(0, 500_000));
      return true;
    });
    await using test = await TestStore.open();
    const abort = new AbortController();
    const pull = test.pull(name, { signal: abort.signal });
    const partial = join(test.root, 'images/partial', digestOf(blob).replace(':', '-'));
    while (!existsSync(partial) || statSync(partial).size < 500_000) await sleep(10);
    abort.abort();
    await expect(pull).rejects.toMatchObject({ code: 'CANCELLED' });
    await test.reopen();
    registry.onCall(() => undefined);
    await test.pull(name);
    expect(registry.callsFor('GET', blobPath).at(-1)?.headers.range).toBe('bytes=500000-');
    expect(readdirSync(join(test.root, 'images/partial'))).toEqual([]);
  });

  test('a damaged beginning is thrown away, and the blob fetched anew', async () => {
    await using test = await TestStore.open();
    const partial = join(test.root, 'images/partial', digestOf(blob).replace(':', '-'));
    writeFileSync(partial, Buffer.alloc(200_000));
    await test.pull(name);
    const ranges = registry.callsFor('GET', blobPath).map(({ headers }) => headers.range);
    expect(ranges).toEqual(['bytes=200000-', undefined]);
  });

  test('a transfer that stalls is broken off and resumed', async () => {
    onBlob(1, (_, response) => {
      response.writeHead(200, { 'content-length': blob.length });
      response.write(blob.subarray(0, 100_000));
      return true;
    });
    await using test = await TestStore.open({ registry: { stallTimeout: 200 } });
    await test.pull(name);
    expect(registry.callsFor('GET', blobPath)[1]?.headers.range).toBe('bytes=100000-');
  });

  /** Sends a byte of a body now and then, until the client goes away. */
  function trickle(response: ServerResponse, content: Buffer): void {
    let sent = 0;
    const timer = setInterval(() => response.write(content.subarray(sent, ++sent)), 20);
    response.once('close', () => clearInterval(timer));
  }

  test('a transfer that trickles is broken off and resumed', async () => {
    onBlob(1, (_, response) => {
      response.writeHead(200, { 'content-length': blob.length });
      trickle(response, blob);
      return true;
    });
    await using test = await TestStore.open({ registry: { stallTimeout: 200 } });
    await test.pull(name);
    expect(registry.callsFor('GET', blobPath)[1]?.headers.range).toMatch(/^bytes=[1-9]\d*-$/);
  });

  test.each(['manifest', 'layer'])('a registry that trickles its %s for good', async (kind) => {
    const path = kind === 'layer' ? blobPath : '/manifests/';
    let calls = 0;
    registry.onCall((call, response, content) => {
      if (!call.url.includes(path) || call.method !== 'GET') return undefined;
      calls++;
      const start = Number(/^bytes=(\d+)-$/.exec(call.headers.range ?? '')?.[1] ?? 0);
      const rest = content!.subarray(start);
      const range = { 'content-range': `bytes ${start}-${content!.length - 1}/${content!.length}` };
      response.writeHead(start > 0 ? 206 : 200, {
        'content-length': rest.length,
        ...(start > 0 ? range : {}),
      });
      trickle(response, rest);
      return true;
    });
    await failingPull(
      {
        code: 'UNAVAILABLE',
        message: expect.stringMatching(/^RegistryUnavailable: .*the transfer is too slow/),
      },
      { registry: { stallTimeout: 200, attempts: 3 } },
    );
    // More bytes came with each: they count for nothing.
    expect(calls).toBe(3);
  });

  test('a registry that stalls for good', async () => {
    registry.onCall((call) => call.url.includes(blobPath) || undefined);
    await failingPull(
      {
        code: 'UNAVAILABLE',
        message: expect.stringMatching(/^RegistryUnavailable: .*does not answer/),
      },
      { registry: { stallTimeout: 200, attempts: 2 } },
    );
  });

  test.each<[string, () => Buffer, number | undefined]>([
    ['wrong bytes', () => Buffer.alloc(blob.length, 7), undefined],
    ['one wrong bit', () => flipped(blob), undefined],
    [
      'more than announced in the manifest',
      () => Buffer.concat([blob, Buffer.from('more')]),
      undefined,
    ],
    ['a Content-Length that lies upwards', () => blob, 1_000_000_000],
  ])('%s', async (_, content, length) => {
    registry.onCall((call, response) => {
      if (!call.url.includes(blobPath)) return undefined;
      const body = content();
      response.writeHead(200, { 'content-length': length ?? body.length });
      response.end(body);
      return true;
    });
    await failingPull({ code: 'DATA_LOSS', message: expect.stringContaining(digestOf(blob)) });
  });

  test('always too short', async () => {
    registry.onCall((call, response) => {
      if (!call.url.includes(blobPath)) return undefined;
      serve(call, response, { content: blob.subarray(0, 1000), mediaType: 'x/y' });
      return true;
    });
    await using test = await TestStore.open();
    await expect(test.pull(name)).rejects.toMatchObject({
      code: expect.stringMatching(/^(DATA_LOSS|UNAVAILABLE)$/),
    });
  });

  test('a body that never ends', async () => {
    registry.onCall((call, response) => {
      if (!call.url.includes(blobPath)) return undefined;
      response.writeHead(200);
      const timer = setInterval(() => response.write(Buffer.alloc(100_000)), 1);
      response.on('close', () => clearInterval(timer));
      return true;
    });
    await failingPull({ code: 'DATA_LOSS' });
  });

  test('a wrong digest inside', async () => {
    const layer = { ...image.layers[0]!, diffId: `sha256:${'0'.repeat(64)}` };
    registry.add('app', 'lie', buildImage({ layers: [layer] }));
    await using test = await TestStore.open();
    await expect(test.pull(`${name}:lie`)).rejects.toMatchObject({
      code: 'DATA_LOSS',
      message: expect.stringContaining('the digest of its archive'),
    });
  });

  test('one bad layer of several stops the others', async () => {
    const layers = [1, 2, 3].map((n) => buildLayer([{ path: `f${n}`, content: randomBytes(100) }]));
    registry.add('app', 'several', buildImage({ layers }));
    registry.onCall((call, response) => {
      if (call.url.includes(layers[0]!.descriptor.digest)) return true;
      if (!call.url.includes(layers[1]!.descriptor.digest)) return undefined;
      response.writeHead(404);
      response.end();
      return true;
    });
    // The first never answers, for longer than a test may take.
    await using test = await TestStore.open({ registry: { stallTimeout: 100_000 } });
    await expect(test.pull(`${name}:several`)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('documents', () => {
  function serveManifest(content: Buffer, mediaType = image.descriptor.mediaType): void {
    registry.onCall((call, response) => {
      if (!call.url.includes('/manifests/')) return undefined;
      serve(call, response, { content, mediaType });
      return true;
    });
  }
  const manifest = (change: object) =>
    Buffer.from(JSON.stringify({ ...JSON.parse(image.manifest.toString()), ...change }));

  test.each<[string, () => Buffer, string, string]>([
    ['no JSON', () => Buffer.from('<html>'), 'INVALID_ARGUMENT', 'not JSON'],
    ['a list', () => Buffer.from('[]'), 'INVALID_ARGUMENT', 'not a JSON object'],
    ['both manifest and index', () => manifest({ manifests: [] }), 'INVALID_ARGUMENT', 'both'],
    [
      'a digest that is a path',
      () => manifest({ config: { ...image.configDescriptor, digest: 'sha256:../../x' } }),
      'INVALID_ARGUMENT',
      'config.digest',
    ],
    [
      'a negative size',
      () => manifest({ config: { ...image.configDescriptor, size: -1 } }),
      'INVALID_ARGUMENT',
      'config.size',
    ],
    [
      'a giant configuration',
      () => manifest({ config: { ...image.configDescriptor, size: 1e9 } }),
      'INVALID_ARGUMENT',
      'more than',
    ],
    [
      'another type than served',
      () => manifest({ mediaType: 'application/vnd.oci.image.index.v1+json' }),
      'INVALID_ARGUMENT',
      'calls itself',
    ],
    [
      'a layer too few',
      () => manifest({ layers: [] }),
      'INVALID_ARGUMENT',
      'has 0 layers and its configuration 1',
    ],
    [
      'a foreign layer',
      () =>
        manifest({
          layers: [
            {
              ...image.layers[0]!.descriptor,
              mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
            },
          ],
        }),
      'UNIMPLEMENTED',
      'may not be distributed',
    ],
    ['100 MB', () => Buffer.alloc(100_000_000, ' '), 'OUT_OF_RANGE', 'larger than'],
  ])('%s', async (_, content, code, reason) => {
    const body = content();
    serveManifest(body);
    await failingPull({ code, message: expect.stringContaining(reason) });
  });

  test('schema 1', async () => {
    serveManifest(
      Buffer.from('{"schemaVersion":1}'),
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
    );
    await failingPull({
      code: 'UNIMPLEMENTED',
      message: expect.stringContaining('push the image again'),
    });
  });

  test('a manifest whose digest is another than the registry says', async () => {
    registry.onCall((call, response) => {
      if (!call.url.includes('/manifests/')) return undefined;
      response.writeHead(200, {
        'content-type': image.descriptor.mediaType,
        'docker-content-digest': digestOf(Buffer.from('other')),
      });
      response.end(call.method === 'HEAD' ? undefined : image.manifest);
      return true;
    });
    await failingPull({ code: 'DATA_LOSS' });
  });

  test('a manifest that is not what was asked for by digest', async () => {
    const wanted = `${name}@${digestOf(Buffer.from('wanted'))}`;
    serveManifest(image.manifest);
    await using test = await TestStore.open();
    await expect(test.pull(wanted)).rejects.toMatchObject({ code: 'DATA_LOSS' });
  });

  test('indexes in a circle, and nested too deeply', async () => {
    // Each refers to the next; digests make a true circle impossible, so they are not checked here.
    let inner = buildIndex([image.descriptor]);
    for (let depth = 0; depth < 10; depth++) {
      registry.addManifest(
        'app',
        inner.descriptor.digest,
        inner.content,
        inner.descriptor.mediaType,
      );
      inner = buildIndex([inner.descriptor]);
    }
    registry.addManifest(
      'app',
      image.descriptor.digest,
      image.manifest,
      image.descriptor.mediaType,
    );
    registry.addManifest('app', 'deep', inner.content, inner.descriptor.mediaType);
    await using test = await TestStore.open();
    await expect(test.pull(`${name}:deep`)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('nested too deeply'),
    });
  });

  test('an index of thousands of entries without platforms', async () => {
    const foreign = buildImage({ layers: [], platform: { os: 'linux', architecture: 's390x' } });
    registry.add('app', 'foreign', foreign);
    const index = buildIndex(Array.from({ length: 3000 }, () => foreign.descriptor));
    registry.addManifest('app', 'many', index.content, index.descriptor.mediaType);
    await using test = await TestStore.open();
    await expect(test.pull(`${name}:many`)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(registry.calls.length).toBeLessThan(150);
  });
});

describe('a full disk', () => {
  test.each([
    ['while downloading', 500_000],
    ['while unpacking', 1_600_000],
  ])('%s', async (_, bytes) => {
    await using test = await TestStore.open();
    await test.store[Symbol.asyncDispose]();
    const disk = join(test.root, 'disk');
    mkdirSync(disk);
    mount({ source: 'tmpfs', target: disk, type: 'tmpfs', data: `size=${bytes}` });
    try {
      const { openStore } = await import('./store-fixture.ts');
      await using store = await openStore(disk);
      const pull = store.pull(name, { signal: new AbortController().signal });
      await expect(pull).rejects.toMatchObject({
        code: 'RESOURCE_EXHAUSTED',
        message: expect.stringMatching(/disk is full|ENOSPC/),
      });
      expect(store.list()).toEqual([]);
      expect(readdirSync(join(disk, 'l'))).toEqual([]);
      await store.collectGarbage();
    } finally {
      unmount(disk);
      rmSync(disk, { recursive: true });
      await test.reopen();
    }
  });
});

function flipped(content: Buffer): Buffer {
  const copy = Buffer.from(content);
  copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
  return copy;
}
