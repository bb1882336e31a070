import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { NEVER } from '../../src/base/index.ts';
import { buildImage } from '../fixtures/image.ts';
import { ScriptedRegistry } from '../fixtures/scripted-registry.ts';
import { TestStore } from './store-fixture.ts';

let directory: string;
const image = buildImage({ layers: [] });

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keelson-helpers-'));
  vi.stubEnv('PATH', `${directory}:${process.env['PATH']}`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true, force: true });
});

/** A credential helper that knows one host. */
function helper(name: string, host: string, user: string): void {
  const path = join(directory, `docker-credential-${name}`);
  const answer = JSON.stringify({ Username: user, Secret: 'secret' });
  writeFileSync(
    path,
    `#!/bin/sh
read host
[ "$1 $host" = "get ${host}" ] || { echo "credentials not found in native keychain"; exit 1; }
echo '${answer}'
`,
  );
  chmodSync(path, 0o755);
}

/** A store whose `registries.conf` and auth file say this. */
function storeWith(registries: string, auths: Record<string, unknown> = {}): Promise<TestStore> {
  const [conf, file] = [join(directory, 'registries.conf'), join(directory, 'auth.json')];
  writeFileSync(conf, registries);
  const entries = Object.keys(auths).map((host) => [host, { auth: btoa('file:secret') }]);
  writeFileSync(file, JSON.stringify({ auths: Object.fromEntries(entries) }));
  return TestStore.open({ registry: { registriesConf: conf, authFiles: [file] } });
}

async function credentialsFor(store: TestStore, name: string): Promise<string | undefined> {
  return (await store.store.explain(name, { signal: NEVER }))[0]?.credentials;
}

const byHelper = (user: string, name: string) =>
  `user "${user}" with a password from credential helper "${name}"`;

test('credential-helpers of registries.conf log in', async () => {
  await using registry = await ScriptedRegistry.start();
  registry.add('app', 'latest', image);
  registry.onCall((call, response) => {
    if (call.headers.authorization === `Basic ${btoa('helped:secret')}`) return undefined;
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' });
    response.end();
    return true;
  });
  helper('one', registry.host, 'helped');
  await using store = await storeWith('credential-helpers = ["one"]\n');
  expect((await store.pull(`${registry.host}/app`)).id).toBe(image.id);
});

test('they are asked in order; containers-auth.json stands for the auth files', async () => {
  helper('one', 'a.test', 'first');
  helper('two', 'docker.io', 'second');
  await using store = await storeWith(
    'credential-helpers = ["one", "containers-auth.json", "two"]\n',
    { 'a.test': {}, 'b.test': {} },
  );
  expect(await credentialsFor(store, 'a.test/app')).toBe(byHelper('first', 'one'));
  expect(await credentialsFor(store, 'b.test/app')).toContain('auth.json');
  expect(await credentialsFor(store, 'docker.io/app')).toBe(byHelper('second', 'two'));
  expect(await credentialsFor(store, 'c.test/app')).toBe('none (no credentials configured)');
});

test('without that word the auth files are not asked; without helpers they are', async () => {
  helper('one', 'a.test', 'first');
  const auths = { 'b.test': {} };
  await using store = await storeWith('credential-helpers = ["one"]\n', auths);
  expect(await credentialsFor(store, 'b.test/app')).toBe('none (no credentials configured)');
  await using other = await storeWith('credential-helpers = []\n', auths);
  expect(await credentialsFor(other, 'b.test/app')).toContain('auth.json');
});

test('one that is not installed fails the pull by its name', async () => {
  await using store = await storeWith('credential-helpers = ["absent"]\n');
  await expect(store.pull('a.test/app')).rejects.toMatchObject({
    message: expect.stringContaining('docker-credential-absent'),
  });
});
