import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { listMounts, unmountAll } from '../linux/index.ts';
import type { SandboxConfig } from './config.ts';
import { mountShm, resolvConf, SHM, writeSandboxFiles } from './sandbox-files.ts';

describe('resolv.conf', () => {
  test.each([
    ['nothing', {}, ''],
    [
      'servers',
      { servers: ['10.0.0.10', 'fd00::a'] },
      'nameserver 10.0.0.10\nnameserver fd00::a\n',
    ],
    ['searches', { searches: ['a.svc', 'svc'] }, 'search a.svc svc\n'],
    ['options', { options: ['ndots:5', 'edns0'] }, 'options ndots:5 edns0\n'],
  ])('says %s', (_what, dns, text) => {
    expect(resolvConf({ servers: [], searches: [], options: [], ...dns })).toBe(text);
  });
});

describe('in a directory', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'keelson-files-'));
  });
  afterEach(async () => {
    unmountAll(join(directory, SHM));
    await rm(directory, { recursive: true });
  });

  const write = (config: Partial<SandboxConfig>) =>
    writeSandboxFiles(
      { hostname: '', dns: undefined, namespaces: {}, ...config } as SandboxConfig,
      directory,
    );
  const read = (name: string) => readFile(join(directory, name), 'utf8');

  test('the files say what the pod was asked to be', async () => {
    const dns = { servers: ['10.0.0.10'], searches: [], options: [] };
    await write({ hostname: 'pod', dns });
    expect(await read('hostname')).toBe('pod\n');
    expect(await read('resolv.conf')).toBe('nameserver 10.0.0.10\n');
    expect(await read('hosts')).toBe(await readFile('/etc/hosts', 'utf8'));
    expect((await stat(join(directory, 'resolv.conf'))).mode & 0o444).toBe(0o444);
  });

  test('what was not asked is the host’s', async () => {
    await write({});
    expect(await read('hostname')).toBe(`${hostname()}\n`);
    expect(await read('resolv.conf')).toBe(await readFile('/etc/resolv.conf', 'utf8'));
  });

  test('shared memory is as large as said, and everybody may use it', async () => {
    await mountShm(directory, { size: 128 * 1024 });
    const target = join(directory, SHM);
    const mount = listMounts().find((each) => each.target === target);
    expect(mount?.superOptions).toContain('size=128k');
    expect(mount?.options).toEqual(expect.arrayContaining(['nosuid', 'nodev', 'noexec']));
    expect((await stat(target)).mode & 0o7777).toBe(0o1777);
  });
});
