import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Config, loadConfig } from '../../config/index.ts';
import { networkFindings } from './network.ts';
import { installerOf } from './packages.ts';
import { capabilityFindings } from './privileges.ts';
import { programFindings } from './programs.ts';

let directory: string;
let config: Config;

const install = (name: string) => `install ${name}`;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-doctor-'));
  await mkdir(join(directory, 'bin'));
  config = await loadConfig({
    file: '/dev/null',
    flags: { cniConfDir: join(directory, 'net.d'), cniBinDir: join(directory, 'bin') },
  });
});

afterEach(() => rm(directory, { recursive: true }));

async function program(name: string, script = `echo ${name} version 1`): Promise<void> {
  const path = join(directory, 'bin', name);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
}

describe('programs', () => {
  async function levels(): Promise<Record<string, string>> {
    const signal = new AbortController().signal;
    const path = join(directory, 'bin');
    const findings = await programFindings({ config, path, install, signal });
    return Object.fromEntries(findings.map(({ subject, level }) => [subject, level]));
  }

  it('tells their versions', async () => {
    for (const name of ['crun', 'runc', 'conmon', 'catatonit', 'nft']) await program(name);
    expect(await levels()).toEqual({
      'runtime crun': 'ok',
      'runtime runc': 'ok',
      conmon: 'ok',
      catatonit: 'ok',
      nftables: 'ok',
    });
  });

  it('tells what is missing, and lets runc stand in for crun', async () => {
    await program('runc', 'exit 1');
    const found = await levels();
    expect(found).toMatchObject({ 'runtime crun': 'note', 'runtime runc': 'ok' });
    expect(found).toMatchObject({ conmon: 'missing', catatonit: 'note', firewall: 'note' });
    expect(found).not.toHaveProperty('default runtime');
  });

  it('needs a default runtime', async () => {
    expect(await levels()).toMatchObject({ 'default runtime': 'missing' });
    await program('runc');
    config = { ...config, defaultRuntime: 'runsc' };
    expect(await levels()).toMatchObject({ 'default runtime': 'missing' });
  });
});

describe('network', () => {
  async function network(
    text: string | undefined,
    builtinPlugins: readonly string[] = [],
  ): Promise<string[]> {
    if (text !== undefined) {
      await mkdir(config.cni.confDir, { recursive: true });
      await writeFile(join(config.cni.confDir, '10-a.conflist'), text);
    }
    const findings = await networkFindings({ config, builtinPlugins, install });
    return findings.map(({ level, subject, detail }) => `${level} ${subject}: ${detail}`);
  }

  const list = JSON.stringify({
    name: 'pods',
    plugins: [{ type: 'bridge', ipam: { type: 'host-local' } }, { type: 'portmap' }],
  });

  it('notes that there is no configuration', async () => {
    expect((await network(undefined))[0]).toMatch(/^note network: no configuration in /);
  });

  it('names plugins that are not there', async () => {
    await program('bridge');
    expect((await network(list))[1]).toMatch(
      /^missing network plugins: host-local, portmap not in/,
    );
    for (const name of ['host-local', 'portmap']) await program(name);
    expect(await network(list)).toEqual([
      expect.stringMatching(/^ok network: "pods" of .*: bridge, host-local, portmap$/),
      'ok network plugins: bridge, host-local, portmap',
    ]);
  });

  it('needs no program for built-in plugins', async () => {
    await program('portmap');
    expect((await network(list, ['bridge', 'host-local']))[1]).toMatch(/^ok network plugins/);
  });

  it.each(['{', '[]', '{"name":"x"}', '{"name":7,"type":"bridge"}'])(
    'refuses the configuration %s',
    async (text) => {
      expect((await network(text))[0]).toMatch(/^missing network: .*10-a.conflist: /);
    },
  );

  it('looks for the plugins of the embedded network', async () => {
    config = { ...config, cni: { ...config.cni, defaultNetwork: true } };
    expect((await network(undefined))[1]).toMatch(/^missing network plugins: bridge/);
  });
});

describe('capabilities', () => {
  const levels = (set: string) =>
    capabilityFindings(`Name:\tx\nCapEff:\t${set}\n`).map(({ level }) => level);

  it('needs those that make containers, and notes the lack of CAP_SYS_RESOURCE', () => {
    expect(levels('000001ffffffffff')).toEqual(['ok']);
    expect(levels('000001fffeffffff')).toEqual(['note']);
    expect(levels('000001ffffdfffff')).toEqual(['missing']);
    expect(levels('0000000000000000').filter((level) => level === 'missing')).toHaveLength(12);
  });
});

describe('packages', () => {
  it.each([
    ['ID=debian\n', 'apt-get install containernetworking-plugins'],
    ['ID=ubuntu\nID_LIKE=debian\n', 'apt-get install containernetworking-plugins'],
    ['ID="rocky"\nID_LIKE="rhel centos fedora"\n', 'dnf install containernetworking-plugins'],
    ['ID=alpine\n', 'apk add cni-plugins'],
    ['ID=other\n', 'install the package "containernetworking-plugins" of your distribution'],
  ])('for %j says %s', async (text, command) => {
    const path = join(directory, 'os-release');
    await writeFile(path, text);
    expect((await installerOf(path))('containernetworking-plugins')).toBe(command);
  });
});
