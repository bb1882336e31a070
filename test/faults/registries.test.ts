import { readdir } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../src/linux/index.ts';
import { buildImage, buildLayer } from '../fixtures/image.ts';
import { freePort } from '../fixtures/registry.ts';
import { type Daemon, startDaemon } from '../harness/index.ts';
import { failureOf } from './failure.ts';
import { always, type Fault, ScriptedRegistry } from './scripted-registry.ts';

let registry: ScriptedRegistry;
let daemon: Daemon;

/** A fault of the download of layers alone. */
const onBlob =
  (fault: (blob: Buffer, response: ServerResponse) => void): Fault =>
  ({ layer }, response) => {
    if (layer !== undefined) fault(layer.blob, response);
    return layer !== undefined;
  };
const onBlobAlways = (...answer: Parameters<typeof always>): Fault => {
  const fault = always(...answer);
  return (asked, response) => asked.layer !== undefined && fault(asked, response);
};
const onManifest =
  (fault: Fault): Fault =>
  (asked, response) =>
    asked.kind === 'manifests' && fault(asked, response);

const denied = JSON.stringify({ errors: [{ code: 'DENIED', message: 'not for you' }] });
const unknown = JSON.stringify({ errors: [{ code: 'MANIFEST_UNKNOWN', message: 'no such tag' }] });
const TYPE = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' };
/** Asks for retries at once, so that they are over soon. */
const SOON = { 'retry-after': '0' };

const CASES: Record<string, [fault: Fault, code: string, reason: string]> = {
  unauthorized: [always(401), 'UNAUTHENTICATED', 'Cannot log in to registry'],
  forbidden: [always(403, {}, denied), 'PERMISSION_DENIED', 'answered 403: DENIED not for you'],
  'no-manifest': [
    onManifest(always(404, {}, unknown)),
    'NOT_FOUND',
    'answered 404: MANIFEST_UNKNOWN no such tag',
  ],
  'no-blob': [onBlobAlways(404), 'NOT_FOUND', 'answered 404'],
  'too-many': [always(429, SOON), 'UNAVAILABLE', 'answered 429'],
  'too-many-blobs': [onBlobAlways(429, SOON), 'UNAVAILABLE', 'answered 429'],
  broken: [always(500, SOON), 'UNAVAILABLE', 'answered 500'],
  'broken-blob': [onBlobAlways(503, SOON), 'UNAVAILABLE', 'answered 503'],
  silent: [() => true, 'UNAVAILABLE', 'it does not answer'],
  'hung-up': [
    (_, response) => response.socket!.destroy() !== undefined,
    'UNAVAILABLE',
    'Cannot reach registry',
  ],
  trickling: [
    onBlob((blob, response) => {
      response.writeHead(200, { 'content-length': blob.length });
      let sent = 0;
      const timer = setInterval(() => response.write(blob.subarray(sent, ++sent)), 50);
      response.once('close', () => clearInterval(timer));
    }),
    'UNAVAILABLE',
    'the transfer is too slow',
  ],
  stalled: [
    onBlob((blob, response) => {
      response.writeHead(200, { 'content-length': blob.length }).flushHeaders();
    }),
    'UNAVAILABLE',
    'the transfer stalled',
  ],
  truncated: [
    onBlob((blob, response) => response.end(blob.subarray(0, 1000))),
    'UNAVAILABLE',
    'the transfer ended after 1000 of ',
  ],
  'wrong-blob': [
    onBlob((blob, response) => {
      const other = Buffer.from(blob);
      other.writeUInt8(other.readUInt8(500) ^ 1, 500);
      response.end(other);
    }),
    'DATA_LOSS',
    'sha256:',
  ],
  'too-much': [
    onBlob((blob, response) => response.end(Buffer.concat([blob, blob]))),
    'DATA_LOSS',
    'sha256:',
  ],
  'no-json': [onManifest(always(200, TYPE, '<html>')), 'INVALID_ARGUMENT', 'it is not JSON'],
  'giant-manifest': [
    onManifest(always(200, TYPE, ' '.repeat(32 << 20))),
    'OUT_OF_RANGE',
    'the answer is larger than',
  ],
};

const pulls = new Map<string, { reference: string; failure: Promise<string> }>();

beforeAll(async () => {
  registry = await ScriptedRegistry.start();
  daemon = await startDaemon({ config: '[images]\nstall_timeout = "500ms"\n' });
  // All at once: those that are tried again take their time.
  for (const [repository, [fault]] of Object.entries(CASES)) {
    const reference = registry.break(repository, fault);
    const failure = failureOf(daemon.images.pullImage({ image: { image: reference } }));
    pulls.set(repository, { reference, failure });
  }
});
afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
});

test.each(Object.keys(CASES))('a pull from a registry that is "%s"', async (repository) => {
  const [, code, reason] = CASES[repository]!;
  const { reference, failure } = pulls.get(repository)!;
  const text = await failure;
  const action = code === 'UNAVAILABLE' ? 'RegistryUnavailable: cannot' : 'Cannot';
  const expected = `${code}: ${action} pull image "${reference}": `;
  expect(text.slice(0, expected.length)).toBe(expected);
  expect(text).toContain(reason);
  const { image: found } = await daemon.images.imageStatus({ image: { image: reference } });
  expect(found).toBeUndefined();
});

test('a registry that nobody runs', async () => {
  const reference = `127.0.0.1:${await freePort()}/busybox:1`;
  expect(await failureOf(daemon.images.pullImage({ image: { image: reference } }))).toMatch(
    /^UNAVAILABLE: RegistryUnavailable: .*ECONNREFUSED/,
  );
});

test('a manifest that is not the one asked for by digest', async () => {
  registry.break('swapped', onManifest(always(200, TYPE, '{}')));
  const reference = `${registry.host}/swapped@${registry.image('swapped').descriptor.digest}`;
  expect(await failureOf(daemon.images.pullImage({ image: { image: reference } }))).toMatch(
    /^DATA_LOSS: /,
  );
});

test('credentials that are refused are not repeated', async () => {
  const reference = registry.break(
    'secret',
    always(401, { 'www-authenticate': 'Basic realm="secret"' }),
  );
  const auth = { username: 'somebody', password: 'open-sesame-123' };
  const failure = await failureOf(daemon.images.pullImage({ image: { image: reference }, auth }));
  expect(failure).toMatch(/^UNAUTHENTICATED: /);
  expect(failure).not.toContain('sesame');
  expect(daemon.log).not.toContain('sesame');
});

test.each([
  ['up', '../outside'],
  ['absolute', '/../../outside'],
  ['through', 'link/outside'],
])('a layer with a path that leads outside (%s) touches nothing outside', async (name, path) => {
  const evil = buildImage({
    layers: [
      buildLayer([
        { path: 'link', type: 'symlink', target: '../../..' },
        { path, content: 'evil' },
      ]),
    ],
  });
  const reference = registry.put(name, evil);
  await failureOf(daemon.images.pullImage({ image: { image: reference } }));
  // Follows no links, and does not mind that a failed layer is being deleted.
  const { stdout } = await run('find', [daemon.directory, '-name', 'outside']);
  const found = stdout.toString().split('\n').filter(Boolean);
  for (const each of found) expect(each).toMatch(`${join(daemon.paths.root, 'l')}/`);
  expect(found).toHaveLength(name === 'through' ? 1 : 0);
});

test('what failed is whole once the registry is', async () => {
  const left = (name: string) => readdir(join(daemon.paths.root, 'images', name));
  for (const repository of ['truncated', 'stalled', 'wrong-blob', 'broken-blob']) {
    registry.mend(repository);
    const image = `${registry.host}/${repository}:1`;
    const { id, layers } = registry.image(repository);
    await daemon.images.pullImage({ image: { image } });
    const { image: found } = await daemon.images.imageStatus({ image: { image } });
    expect(found!.id).toBe(id);
    expect(await left('partial')).not.toContain(layers[0]!.descriptor.digest.replace(':', '-'));
  }
  expect(await left('trash')).toEqual([]);
});
