import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseReference } from '../spec/index.ts';
import { findEndpoints } from './endpoints.ts';

let directory: string;
let conf: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keelson-conf-'));
  conf = join(directory, 'registries.conf');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function endpointsOf(name: string, text: string): Promise<string[]> {
  writeFileSync(conf, text);
  const endpoints = await findEndpoints(parseReference(name), { registriesConf: conf });
  return endpoints.map(({ url, repository }) => `${url}/${repository}`);
}

describe('registries.conf', () => {
  test('without a rule the registry itself', async () => {
    expect(await endpointsOf('busybox', '')).toEqual([
      'https://registry-1.docker.io/v2/library/busybox',
    ]);
    expect(await endpointsOf('localhost:5000/x', '')).toEqual(['http://localhost:5000/v2/x']);
    expect(await endpointsOf('127.0.0.1:443/x', '')).toEqual(['https://127.0.0.1:443/v2/x']);
  });

  test('the longest prefix counts, at boundaries only', async () => {
    const text = `
      [[registry]]
      prefix = "example.com"
      location = "one.io"
      [[registry]]
      prefix = "example.com/team"
      location = "two.io/x"
      [[registry]]
      prefix = "example.com/team/app:1"
      location = "three.io/pinned"`;
    expect(await endpointsOf('example.com/other', text)).toEqual(['https://one.io/v2/other']);
    expect(await endpointsOf('example.com/team/app', text)).toEqual(['https://two.io/v2/x/app']);
    expect(await endpointsOf('example.com/teams', text)).toEqual(['https://one.io/v2/teams']);
    expect(await endpointsOf('example.com/team/app:1', text)).toEqual([
      'https://three.io/v2/pinned',
    ]);
    expect(await endpointsOf('example.com.evil/app', text)).toEqual([
      'https://example.com.evil/v2/app',
    ]);
  });

  test('all hosts of a domain', async () => {
    const text = '[[registry]]\nprefix = "*.example.com"\nlocation = "cache.io/mirror"';
    expect(await endpointsOf('a.b.example.com/x/y', text)).toEqual([
      'https://cache.io/v2/mirror/x/y',
    ]);
    expect(await endpointsOf('example.com/x', text)).toEqual(['https://example.com/v2/x']);
  });

  test('an insecure location is tried with TLS, then without', async () => {
    const text = '[[registry]]\nlocation = "old.io"\ninsecure = true';
    expect(await endpointsOf('old.io/x', text)).toEqual([
      'https://old.io/v2/x',
      'http://old.io/v2/x',
    ]);
  });

  test.each(['registry = 1', '[[registry]]\nblocked = true', 'short-name-mode = "maybe"', 'x = ['])(
    '%j is refused',
    async (text) => {
      await expect(endpointsOf('x', text)).rejects.toMatchObject({
        code: 'FAILED_PRECONDITION',
        message: expect.stringContaining(conf),
      });
    },
  );
});
