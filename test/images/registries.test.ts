import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { NEVER, SILENT } from '../../src/base/index.ts';
import { makeCertificates } from '../fixtures/certificates.ts';
import { buildImage, buildLayer, type FixtureImage } from '../fixtures/image.ts';
import { freePort } from '../fixtures/registry.ts';
import { ScriptedRegistry } from '../fixtures/scripted-registry.ts';
import { TestStore } from './store-fixture.ts';

let directory: string;
let image: FixtureImage;
const open: AsyncDisposable[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keelson-registries-'));
  image = buildImage({ layers: [buildLayer([{ path: 'f', content: 'x' }])] });
});
afterEach(async () => {
  for (const resource of open.splice(0).reverse()) await resource[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

async function start(
  tls?: Parameters<typeof ScriptedRegistry.start>[0],
): Promise<ScriptedRegistry> {
  const registry = await ScriptedRegistry.start(tls);
  open.push(registry);
  registry.add('app', 'latest', image);
  return registry;
}

async function store(registry: object): Promise<TestStore> {
  const test = await TestStore.open({ registry });
  open.push(test);
  return test;
}

const certsDir = () => join(directory, 'certs.d');

function hostsToml(host: string, text: string): void {
  mkdirSync(join(certsDir(), host), { recursive: true });
  writeFileSync(join(certsDir(), host, 'hosts.toml'), text);
}

describe('hosts.toml', () => {
  test('mirrors are asked in order, with ns, before the server', async () => {
    const [broken, mirror, origin] = [await start(), await start(), await start()];
    broken.onCall((_, response) => {
      response.writeHead(500);
      response.end();
      return true;
    });
    hostsToml(
      'registry.example',
      `server = "${origin.url}"\n[host."${broken.url}"]\n[host."${mirror.url}"]\n`,
    );
    const test = await store({ certsDir: certsDir() });
    const record = await test.pull('registry.example/app');
    expect(record.repoTags).toEqual(['registry.example/app:latest']);
    expect(mirror.calls[0]?.url).toBe('/v2/app/manifests/latest?ns=registry.example');
    expect(broken.calls.length).toBeGreaterThan(0);
    expect(origin.calls).toEqual([]);
  });

  test('a mirror that may not resolve is asked for content only', async () => {
    const [mirror, origin] = [await start(), await start()];
    hostsToml(
      'registry.example',
      `server = "${origin.url}"\n[host."${mirror.url}"]\ncapabilities = ["pull"]\n`,
    );
    await (await store({ certsDir: certsDir() })).pull('registry.example/app');
    expect(mirror.callsFor('GET', '/manifests/latest')).toEqual([]);
    expect(mirror.callsFor('GET', '/blobs/')).toHaveLength(2);
    expect(origin.callsFor('GET', '/blobs/')).toEqual([]);
  });

  test('a mirror with wrong content is left for the next', async () => {
    const [mirror, origin] = [await start(), await start()];
    mirror.addBlob(
      'app',
      image.layers[0]!.descriptor.digest,
      Buffer.alloc(image.layers[0]!.blob.length),
    );
    hostsToml('registry.example', `server = "${origin.url}"\n[host."${mirror.url}"]\n`);
    expect((await (await store({ certsDir: certsDir() })).pull('registry.example/app')).id).toBe(
      image.id,
    );
  });

  test('headers, an own path, and changes that take effect at once', async () => {
    const mirror = await start();
    mirror.mountAt('/proxy/hub');
    const test = await store({ certsDir: certsDir() });
    await expect(test.pull('registry.example/app')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    hostsToml(
      '_default',
      `[host."${mirror.url}/proxy/hub"]\noverride_path = true\n[host."${mirror.url}/proxy/hub".header]\nx-team = "blue"\n`,
    );
    expect((await test.pull('registry.example/app')).id).toBe(image.id);
    expect(mirror.calls[0]?.url).toContain('/proxy/hub/app/manifests/latest');
    expect(mirror.calls[0]?.headers['x-team']).toBe('blue');
  });

  test('all failed: the registry itself is the reason, the mirrors are named', async () => {
    const mirror = await start();
    mirror.onCall((_, response) => {
      response.writeHead(403);
      response.end();
      return true;
    });
    const origin = `http://127.0.0.1:${await freePort()}`;
    hostsToml('registry.example', `server = "${origin}"\n[host."${mirror.url}"]\n`);
    await expect(
      (await store({ certsDir: certsDir() })).pull('registry.example/app'),
    ).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(
        new RegExp(`^RegistryUnavailable: .*ECONNREFUSED.*before that "${mirror.url}/v2".*403`),
      ),
    });
  });

  test('a file that cannot be read', async () => {
    hostsToml('registry.example', 'server = [');
    await expect(
      (await store({ certsDir: certsDir() })).pull('registry.example/app'),
    ).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining('hosts.toml'),
    });
  });
});

describe('TLS', () => {
  test('own authority and client certificate', async () => {
    const registry = await start({ ...makeCertificates(directory) });
    hostsToml(
      registry.host,
      `server = "${registry.url}"\nca = "${join(directory, 'ca.crt')}"\nclient = [["${join(directory, 'client.crt')}", "${join(directory, 'client.key')}"]]\n`,
    );
    const test = await store({ certsDir: certsDir() });
    expect((await test.pull(`${registry.host}/app`)).id).toBe(image.id);
  });

  test('an authority that nobody knows is refused, unless verification is off', async () => {
    const { key, cert } = makeCertificates(directory);
    const registry = await start({ key, cert });
    hostsToml(registry.host, `server = "${registry.url}"\n`);
    const test = await store({ certsDir: certsDir() });
    await expect(test.pull(`${registry.host}/app`)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/self-signed|unable to verify/),
    });
    hostsToml(registry.host, `server = "${registry.url}"\nskip_verify = true\n`);
    expect((await test.pull(`${registry.host}/app`)).id).toBe(image.id);
  });

  test("Docker's form of certificates", async () => {
    const { key, cert } = makeCertificates(directory);
    const registry = await start({ key, cert });
    mkdirSync(join(certsDir(), registry.host), { recursive: true });
    writeFileSync(
      join(certsDir(), registry.host, 'ca.crt'),
      readFileSync(join(directory, 'ca.crt')),
    );
    const test = await store({ certsDir: certsDir() });
    await expect(test.pull(`${registry.host}/app`)).resolves.toMatchObject({ id: image.id });
  });
});

describe('registries.conf', () => {
  const conf = () => join(directory, 'registries.conf');

  test('prefixes lead to locations and mirrors, digests to mirrors of their own', async () => {
    const [mirror, origin] = [await start(), await start()];
    for (const registry of [mirror, origin]) registry.add('moved/app', 'latest', image);
    writeFileSync(
      conf(),
      `[[registry]]\nprefix = "registry.example/team"\nlocation = "${origin.host}/moved"\n[[registry.mirror]]\nlocation = "${mirror.host}/moved"\npull-from-mirror = "digest-only"\n`,
    );
    const test = await store({ registriesConf: conf() });
    await test.pull('registry.example/team/app');
    expect([mirror.calls.length, origin.calls.length > 0]).toEqual([0, true]);
    origin.calls.length = 0;
    await test.store.remove('registry.example/team/app');
    await test.pull(`registry.example/team/app@${image.descriptor.digest}`);
    expect([mirror.calls.length > 0, origin.calls.length]).toEqual([true, 0]);
  });

  test('blocked registries, also with certs.d, and drop-ins', async () => {
    const registry = await start();
    hostsToml('registry.example', `server = "${registry.url}"\n`);
    mkdirSync(`${conf()}.d`);
    writeFileSync(
      join(`${conf()}.d`, '10.conf'),
      '[[registry]]\nlocation = "*.example"\nblocked = true\n',
    );
    const test = await store({ registriesConf: conf(), certsDir: certsDir() });
    await expect(test.pull('registry.example/app')).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      message: expect.stringContaining('blocks "*.example"'),
    });
    expect(registry.calls).toEqual([]);
  });

  test('short names: aliases, and registries to search', async () => {
    const [empty, registry] = [await start(), await start()];
    registry.add('team/tool', 'latest', image);
    writeFileSync(
      conf(),
      `unqualified-search-registries = ["${empty.host}", "${registry.host}"]\n[aliases]\n"nick" = "${registry.host}/team/tool"\n`,
    );
    const test = await store({ registriesConf: conf() });
    expect((await test.pull('nick')).repoTags).toEqual([`${registry.host}/team/tool:latest`]);
    expect((await test.pull('team/tool')).repoTags).toEqual([`${registry.host}/team/tool:latest`]);
    expect(empty.callsFor('GET', '/v2/team/tool/manifests/latest')).toHaveLength(1);
    await expect(test.pull('team/other')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringMatching(
        new RegExp(
          `"${registry.host}" answered 404.*before that "${empty.host}/team/other:latest"`,
        ),
      ),
    });
    writeFileSync(conf(), `short-name-mode = "enforcing"\n${readFileSync(conf(), 'utf8')}`);
    await expect(test.pull('team/tool')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('short names of images that are here mean what a pull means', async () => {
    const [first, second] = [await start(), await start()];
    const other = buildImage({ layers: [buildLayer([{ path: 'f', content: 'other' }])] });
    for (const [registry, content] of [
      [first, image],
      [second, other],
    ] as const) {
      registry.add('team/tool', 'latest', content);
    }
    const search = (hosts: string[], more = '') =>
      writeFileSync(
        conf(),
        `unqualified-search-registries = ${JSON.stringify(hosts)}\n${more}[aliases]\nnick = "${second.host}/team/tool"\n`,
      );
    search([first.host, second.host]);
    const test = await store({ registriesConf: conf() });
    const idOf = async (name: string) => (await test.store.find(name))?.id;
    await test.pull(`${second.host}/team/tool`);
    expect([await idOf('team/tool'), await idOf('nick')]).toEqual([other.id, other.id]);
    await test.pull(`${first.host}/team/tool`);
    expect([await idOf('team/tool'), await idOf('nick')]).toEqual([image.id, other.id]);
    search([second.host, first.host], 'short-name-mode = "enforcing"\n');
    expect(await idOf('team/tool')).toBe(other.id);
    search([]);
    expect(await idOf('team/tool')).toBeUndefined();
    await test.store.remove('nick');
    expect(test.store.list().map(({ id }) => id)).toEqual([image.id]);
    expect(await idOf(image.id.slice(7, 19))).toBe(image.id);
  });

  test('version 1 is refused by path, keys without effect are told', async () => {
    const registry = await start();
    writeFileSync(conf(), '[registries.search]\nregistries = ["docker.io"]\n');
    const warnings: string[] = [];
    const logger = { ...SILENT, warn: (_: object, text: string) => void warnings.push(text) };
    const test = await TestStore.open({ registry: { registriesConf: conf() }, logger });
    open.push(test);
    await expect(test.pull(`${registry.host}/app`)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringMatching(/registries\.conf".*version 1/),
    });
    writeFileSync(
      conf(),
      `additional-layer-store-auth-helper = "x"\n[[registry]]\nlocation = "${registry.host}"\ncolour = "red"\n`,
    );
    await test.pull(`${registry.host}/app`);
    expect(warnings).toEqual(
      ['additional-layer-store-auth-helper', 'registry.colour'].map(
        (key) => `"${conf()}": "${key}" is not known and has no effect`,
      ),
    );
  });
});

describe('tokens', () => {
  /** A registry that wants tokens of a token server, which hands them out for a password. */
  async function guarded(options: { expires?: number; identity?: string } = {}) {
    const [registry, tokens] = [await start(), await start()];
    let issued = 0;
    tokens.onCall((call, response) => {
      const form = new URLSearchParams(call.body);
      const basic = `Basic ${Buffer.from('user:pass:word').toString('base64')}`;
      const allowed = options.identity
        ? call.method === 'POST' && form.get('refresh_token') === options.identity
        : call.headers.authorization === basic;
      response.writeHead(allowed ? 200 : 401, { 'content-type': 'application/json' });
      const answer = { token: `token-${++issued}`, expires_in: options.expires ?? 300 };
      response.end(allowed ? JSON.stringify(answer) : '{}');
      return true;
    });
    const valid = new Set<string>();
    registry.onCall((call, response) => {
      const authorization = call.headers.authorization ?? '';
      if (authorization === `Bearer token-${issued}` || valid.has(authorization)) return undefined;
      response.writeHead(401, {
        'www-authenticate': `Basic realm="no", Bearer realm="${tokens.url}/token?x=1",service="reg",scope="repository:app:pull,push"`,
      });
      response.end();
      return true;
    });
    return { registry, tokens };
  }

  test('are asked for with the scope of the challenge, and used for what follows', async () => {
    const { registry, tokens } = await guarded();
    const test = await store({});
    await test.pull(`${registry.host}/app`, {
      credentials: { username: 'user', password: 'pass:word' },
    });
    expect(tokens.calls.map(({ url }) => url)).toEqual([
      '/token?x=1&service=reg&scope=repository%3Aapp%3Apull%2Cpush&account=user',
    ]);
    await test.pull(`${registry.host}/app`, {
      credentials: { username: 'user', password: 'pass:word' },
    });
    expect(tokens.calls).toHaveLength(1);
  });

  test('that the registry no longer takes are renewed', async () => {
    const { registry, tokens } = await guarded();
    const test = await store({});
    const credentials = { username: 'user', password: 'pass:word' };
    await test.pull(`${registry.host}/app`, { credentials });
    await test.store.remove(`${registry.host}/app`);
    // As if another client's token had taken the place of this one's.
    await fetch(`${tokens.url}/token`, {
      headers: { authorization: `Basic ${btoa('user:pass:word')}` },
    });
    expect((await test.pull(`${registry.host}/app`, { credentials })).id).toBe(image.id);
  });

  test.each([300, 30])('that hold for %i seconds are not used longer', async (expires) => {
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      const { registry, tokens } = await guarded({ expires });
      const test = await store({});
      const pull = async () => {
        await test.pull(`${registry.host}/app`, {
          credentials: { username: 'user', password: 'pass:word' },
        });
        return [tokens.calls.length, registry.calls.at(-1)?.headers.authorization];
      };
      expect(await pull()).toEqual([1, 'Bearer token-1']);
      vi.setSystemTime(Date.now() + (expires * 1000) / 2);
      expect(await pull()).toEqual([1, 'Bearer token-1']);
      registry.calls.length = 0;
      vi.setSystemTime(Date.now() + (expires * 1000) / 2 - 1000);
      expect(await pull()).toEqual([2, 'Bearer token-2']);
      expect(registry.calls.map(({ headers }) => headers.authorization)).not.toContain(
        'Bearer token-1',
      );
    } finally {
      vi.useRealTimers();
    }
  });

  test('for an identity token', async () => {
    const { registry, tokens } = await guarded({ identity: 'refresh-me' });
    const test = await store({});
    await test.pull(`${registry.host}/app`, { credentials: { identityToken: 'refresh-me' } });
    expect(tokens.calls[0]?.body).toContain('grant_type=refresh_token');
  });

  test('refused: nothing of the secret in the error', async () => {
    const { registry } = await guarded();
    const test = await store({});
    const error = await test
      .pull(`${registry.host}/app`, { credentials: { username: 'user', password: 'hunter2' } })
      .catch((e: Error) => e);
    expect(error).toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(`${error} ${JSON.stringify(error)}`).not.toMatch(/hunter2|aHVudGVyMg/);
  });

  test('a token server that is not to be trusted with a password', async () => {
    const registry = await start();
    registry.onCall((_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Bearer realm="ftp://example.com/token"' });
      response.end();
      return true;
    });
    const test = await store({});
    await expect(
      test.pull(`${registry.host}/app`, { credentials: { username: 'u', password: 'p' } }),
    ).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
      message: expect.stringContaining('ftp://example.com'),
    });
  });
});

describe('redirects', () => {
  test('lead to other hosts without the authorization and headers of the first', async () => {
    const [registry, storage] = [await start(), await start()];
    registry.onCall((call, response) => {
      if (call.headers.authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' });
      } else if (call.url.includes('/blobs/')) {
        response.writeHead(307, { location: `${storage.url}${call.url}?signature=1` });
      } else return undefined;
      response.end();
      return true;
    });
    const test = await store({});
    await test.pull(`${registry.host}/app`, { credentials: { username: 'u', password: 'p' } });
    expect(storage.calls).toHaveLength(2);
    for (const call of storage.calls) expect(call.headers.authorization).toBeUndefined();
  });

  test('within the host keep it, and in a circle end', async () => {
    const registry = await start();
    registry.mountAt('/moved');
    registry.onCall((call, response) => {
      if (call.headers.authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' });
      } else if (!call.url.startsWith('/moved/')) {
        response.writeHead(302, { location: call.url.replace('/v2/', '/moved/') });
      } else return undefined;
      response.end();
      return true;
    });
    const credentials = { username: 'u', password: 'p' };
    const moved = await (await store({})).pull(`${registry.host}/app`, { credentials });
    expect(moved.id).toBe(image.id);
    const looping = await start();
    looping.onCall((_, response) => {
      response.writeHead(302, { location: '/loop' });
      response.end();
      return true;
    });
    const test = await store({});
    await expect(test.pull(`${looping.host}/app`)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('redirects more than'),
    });
  });
});

describe('auth files and helpers', () => {
  async function basic(): Promise<ScriptedRegistry> {
    const registry = await start();
    registry.onCall((call, response) => {
      if (call.headers.authorization === `Basic ${btoa('file:secret')}`) return undefined;
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' });
      response.end();
      return true;
    });
    return registry;
  }
  const file = () => join(directory, 'auth.json');

  test('the most specific entry counts', async () => {
    const registry = await basic();
    writeFileSync(
      file(),
      JSON.stringify({
        auths: {
          [registry.host]: { auth: btoa('wrong:one') },
          [`${registry.host}/app`]: { auth: btoa('file:secret') },
        },
      }),
    );
    const test = await store({ authFiles: [join(directory, 'missing.json'), file()] });
    expect((await test.pull(`${registry.host}/app`)).id).toBe(image.id);
  });

  test('a credential helper', async () => {
    const registry = await basic();
    const helper = join(directory, 'docker-credential-test');
    writeFileSync(
      helper,
      `#!/bin/sh\nread host\n[ "$host" = "${registry.host}" ] || { echo "credentials not found"; exit 1; }\necho '{"Username":"file","Secret":"secret"}'\n`,
    );
    chmodSync(helper, 0o755);
    writeFileSync(file(), JSON.stringify({ credHelpers: { [registry.host]: 'test' } }));
    const path = process.env['PATH'];
    process.env['PATH'] = `${directory}:${path}`;
    try {
      const test = await store({ authFiles: [file()] });
      expect((await test.pull(`${registry.host}/app`)).id).toBe(image.id);
      const explained = await test.store.explain(`${registry.host}/app`, { signal: NEVER });
      expect(explained[0]?.credentials).toBe(
        'user "file" with a password from credential helper "test"',
      );
    } finally {
      process.env['PATH'] = path;
    }
  });

  test('the credential helper for all registries, after the entries of the file', async () => {
    const registry = await basic();
    const helper = join(directory, 'docker-credential-all');
    writeFileSync(
      helper,
      `#!/bin/sh\nread host\n[ "$host" = "${registry.host}" ] || { echo "credentials not found"; exit 1; }\necho '{"Username":"<token>","Secret":"secret"}'\n`,
    );
    chmodSync(helper, 0o755);
    writeFileSync(
      file(),
      JSON.stringify({
        credsStore: 'all',
        auths: { 'registry.test': { auth: btoa('file:secret') }, [registry.host]: {} },
      }),
    );
    const path = process.env['PATH'];
    process.env['PATH'] = `${directory}:${path}`;
    try {
      const test = await store({ authFiles: [file()] });
      const credentials = async (name: string) =>
        (await test.store.explain(name, { signal: NEVER }))[0]?.credentials;
      expect(await credentials(`${registry.host}/app`)).toBe(
        'an identity token from credential helper "all"',
      );
      expect(await credentials('registry.test/app')).toBe(
        `user "file" with a password from "${file()}"`,
      );
      expect(await credentials('other.test/app')).toBe('none (no credentials configured)');
      writeFileSync(helper, '#!/bin/sh\necho secret-in-the-answer\n');
      const failure = await test.pull(`${registry.host}/app`).catch((error: Error) => error);
      expect(failure).toMatchObject({
        code: 'FAILED_PRECONDITION',
        message: expect.stringContaining('its answer is malformed'),
      });
      expect(String(failure)).not.toContain('secret-in');
    } finally {
      process.env['PATH'] = path;
    }
  });

  test('a broken file is named, its content is not', async () => {
    writeFileSync(file(), '{"auths": {"x": {"auth": "c2VjcmV0"');
    const registry = await basic();
    const test = await store({ authFiles: [file()] });
    const error = await test.pull(`${registry.host}/app`).catch((e: Error) => e);
    expect(error).toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: expect.stringContaining('auth.json'),
    });
    expect(String(error)).not.toContain('c2VjcmV0');
  });
});

test('explain tells endpoints in order, why, and with which credentials', async () => {
  hostsToml(
    'docker.io',
    '[host."https://mirror.example"]\ncapabilities = ["pull"]\nskip_verify = true\n',
  );
  const test = await store({ certsDir: certsDir() });
  const explained = await test.store.explain('busybox', {
    signal: NEVER,
    credentials: { username: 'me', password: 'hunter2' },
  });
  const source = join(certsDir(), 'docker.io/hosts.toml');
  expect(explained).toMatchObject([
    {
      url: 'https://mirror.example/v2',
      repository: 'library/busybox',
      mirror: true,
      can: ['pull'],
      skipVerify: true,
      source,
      credentials: 'none (no credentials configured)',
    },
    {
      url: 'https://registry-1.docker.io/v2',
      mirror: false,
      can: ['resolve', 'pull'],
      source,
      credentials: 'user "me" with a password from the request',
    },
  ]);
  expect(JSON.stringify(explained)).not.toContain('hunter2');
});
