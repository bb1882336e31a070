import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Endpoint } from './endpoint.ts';
import { endpointsFromCertsDir } from './hosts-toml.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keelson-hosts-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function write(host: string, files: Record<string, string>): void {
  mkdirSync(join(directory, host), { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(directory, host, name), text);
  }
}

function endpoints(domain: string): Promise<Endpoint[] | undefined> {
  return endpointsFromCertsDir(directory, domain, 'app', () => {});
}

async function urls(domain: string): Promise<string[] | undefined> {
  return (await endpoints(domain))?.map(({ url }) => url);
}

test('the directory of host and port counts before that of all', async () => {
  expect(await endpoints('registry.test:5000')).toBeUndefined();
  const mirror = (name: string) => ({ 'hosts.toml': `[host."https://${name}.test"]\n` });
  write('_default', mirror('default'));
  expect(await urls('registry.test:5000')).toEqual([
    'https://default.test/v2',
    'https://registry.test:5000/v2',
  ]);
  write('registry.test:5000', mirror('colon'));
  expect((await urls('registry.test:5000'))?.[0]).toBe('https://colon.test/v2');
  write('registry.test_5000_', mirror('lines'));
  expect((await urls('registry.test:5000'))?.[0]).toBe('https://lines.test/v2');
  expect((await urls('registry.test:5001'))?.[0]).toBe('https://default.test/v2');
});

test('the server is a registry of its own, with settings of its own', async () => {
  write('docker.io', {
    'hosts.toml':
      'skip_verify = true\n[host."mirror.test"]\ncapabilities = ["pull"]\n[host."http://127.0.0.1:5000/v2/"]\n',
  });
  expect(await endpoints('docker.io')).toMatchObject([
    { url: 'https://mirror.test/v2', isMirror: true, namespace: 'docker.io', canResolve: false },
    { url: 'http://127.0.0.1:5000/v2', isMirror: true, canResolve: true },
    { url: 'https://registry-1.docker.io/v2', isMirror: false, tls: { skipVerify: true } },
  ]);
});

test.each([
  ['"500ms"', 500],
  ['"30s"', 30_000],
  ['"1m30s"', 90_000],
  ['"1.5h"', 5_400_000],
])('dial_timeout %s', async (text, milliseconds) => {
  write('r.test', { 'hosts.toml': `dial_timeout = ${text}\n` });
  expect((await endpoints('r.test'))?.[0]?.connectTimeout).toBe(milliseconds);
});

test.each<[string, string, [cert: string, key: string][]]>([
  ['one file with both', '"both.pem"', [['both', 'both']]],
  ['a pair', '[["a.crt", "a.key"]]', [['cert', 'key']]],
  [
    'pairs and files, with paths from the directory of the file',
    '[["a.crt", "a.key"], "both.pem", ["both.pem", ""]]',
    [
      ['cert', 'key'],
      ['both', 'both'],
      ['both', 'both'],
    ],
  ],
])('client certificates: %s', async (_, client, expected) => {
  write('r.test', {
    'both.pem': 'both',
    'a.crt': 'cert',
    'a.key': 'key',
    'hosts.toml': `client = ${client}\n`,
  });
  const clients = (await endpoints('r.test'))?.[0]?.tls.clients;
  expect(clients?.map(({ cert, key }) => [cert, key])).toEqual(expected);
});

test.each([
  ['capabilities = ["fly"]', 'there is no capability "fly"'],
  ['dial_timeout = "soon"', '"soon" is not a duration'],
  ['ca = "missing.crt"', 'cannot read'],
  ['client = [["a", "b", "c"]]', 'not a pair of files'],
  ['server = "ftp://r.test"', 'is not a URL'],
  ['skip_verify = "yes"', 'skip_verify'],
])('%s is refused with the path of the file', async (text, reason) => {
  write('r.test', { 'hosts.toml': `${text}\n` });
  await expect(endpoints('r.test')).rejects.toMatchObject({
    code: 'FAILED_PRECONDITION',
    message: expect.stringMatching(new RegExp(`r.test/hosts.toml".*${reason}`)),
  });
});
