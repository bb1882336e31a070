import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dumpConfig, loadConfig, readConfig } from './index.ts';

let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-config-'));
  file = join(directory, 'config.toml');
  await writeFile(file, '');
});

afterEach(() => rm(directory, { recursive: true }));

async function dropIn(name: string, text: string): Promise<void> {
  await mkdir(`${file}.d`, { recursive: true });
  await writeFile(join(`${file}.d`, name), text);
}

describe('precedence', () => {
  it('fills in defaults, also those that depend on other settings', async () => {
    const config = await loadConfig({ file, flags: { state: '/run/other' } });
    expect(config.listen).toEqual(['unix:///run/other/keelson.sock']);
    expect(config.admin.address).toBe('unix:///run/other/admin.sock');
    expect(config.runtimes['runc']).toEqual({
      type: 'runc',
      path: 'runc',
      root: '/run/other/runtimes/runc',
      options: [],
    });
    expect(config.cni.pluginTimeout).toBe(60_000);
    expect(config.sandbox.shmSize).toBe(64 * 1024 * 1024);
  });

  it('takes flags over the environment over drop-ins over the file', async () => {
    await writeFile(
      file,
      'root = "/file"\nstate = "/file"\n[cni]\nconf_dir = "/file"\ncache_dir = "/file"\n',
    );
    await dropIn('20-b.toml', '[cni]\nconf_dir = "/later"\n');
    await dropIn('10-a.toml', 'root = "/drop-in"\nstate = "/drop-in"\n[cni]\nconf_dir = "/a"\n');
    await dropIn('ignored.txt', 'nonsense');
    const config = await loadConfig({
      file,
      env: { KEELSON_ROOT: '/env', KEELSON_LOG_LEVEL: 'warn', KEELSON_STATE: '' },
      flags: { root: '/flag' },
    });
    expect(config.root).toBe('/flag');
    expect(config.log.level).toBe('warn');
    expect(config.state).toBe('/drop-in');
    expect(config.cni.confDir).toBe('/later');
    expect(config.cni.cacheDir).toBe('/file');
  });

  it('replaces lists and merges tables', async () => {
    await writeFile(file, '[runtimes.crun]\npath = "/opt/crun"\noptions = ["--debug"]\n');
    await dropIn('a.toml', '[runtimes.crun]\noptions = []\n[runtimes.gvisor]\ntype = "runsc"\n');
    const { runtimes } = await loadConfig({ file });
    expect(runtimes['crun']).toMatchObject({ path: '/opt/crun', options: [] });
    expect(runtimes['gvisor']).toMatchObject({ type: 'runsc', path: 'runsc' });
    expect(Object.keys(runtimes).sort()).toEqual(['crun', 'gvisor', 'runc', 'runsc']);
  });

  it('reads lists, numbers and truth values from the environment', async () => {
    const { cni, images, listen } = await loadConfig({
      file,
      env: {
        KEELSON_CNI_BIN_DIRS: '/a:/b',
        KEELSON_CNI_DEFAULT_NETWORK: 'true',
        KEELSON_IMAGES_PARALLEL_LAYERS: '7',
        KEELSON_LISTEN: 'unix:///a,tcp://127.0.0.1:1',
      },
    });
    expect(cni).toMatchObject({ binDirs: ['/a', '/b'], defaultNetwork: true });
    expect(images.parallelLayers).toBe(7);
    expect(listen).toEqual(['unix:///a', 'tcp://127.0.0.1:1']);
  });

  it('does without the default file, but not without one that was named', async () => {
    await rm(file);
    await expect(loadConfig({ file })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('refusals', () => {
  async function problems(text: string): Promise<string[]> {
    await writeFile(file, text);
    return (await readConfig({ file })).problems.map((line) => line.replace(file, 'FILE'));
  }

  it('names file and line of each unknown key and bad value', async () => {
    expect(
      await problems(
        'rot = "/x"\n\n[cni]\nconf_dir = 7\nextra = 1\n[images]\nstall_timeout = "5"\n',
      ),
    ).toEqual([
      'FILE:4: cni.conf_dir: Invalid input: expected string, received number',
      'FILE:5: unknown key "cni.extra"',
      'FILE:7: images.stall_timeout: must be a duration such as "30s" or "1m30s"',
      'FILE:1: unknown key "rot"',
    ]);
  });

  it('names the line of a syntax error', async () => {
    expect(await problems('root = "/x"\nstate = \n')).toEqual([
      expect.stringMatching(/^FILE:2: Invalid TOML document/),
    ]);
  });

  it.each([
    ['root = "relative"', 'FILE:1: root: must be an absolute path'],
    ['[runtimes.Bad_Name]', 'FILE:1: runtimes.Bad_Name: is no name of a runtime handler'],
    ['[runtimes.mine]', 'FILE:1: runtimes.mine.type: is needed, one of "crun", "runc", "runsc"'],
    ['default_runtime = "x"', 'FILE:1: default_runtime: there is no [runtimes.x]'],
    ['listen = ["http://x"]', 'FILE:1: listen.0: must be unix:///PATH or tcp://ADDRESS:PORT'],
    ['[sandbox]\nshm_size = "1.5G"', /^FILE:2: sandbox.shm_size: must be a size/],
    ['[grpc.tls]\ncert = "/c"', 'FILE:2: grpc.tls: cert, key and client_ca go together'],
    ['[streaming.tls]\nkey = "/c"', 'FILE:2: streaming.tls: cert and key go together'],
    ['[streaming.tls]\nclient_ca = "/c"', /^FILE:2: streaming.tls: client_ca needs cert and key/],
    ['listen = ["tcp://127.0.0.1:70000"]', /has no port from 0 to 65535/],
    ['[images]\nparallel_layers = 0', /^FILE:2: images.parallel_layers: /],
  ])('refuses %j', async (text, message) => {
    const found = await problems(text);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(message);
  });

  it('listens beyond loopback only with mutual TLS', async () => {
    expect(await problems('listen = ["tcp://0.0.0.0:1"]')).toHaveLength(1);
    expect(await problems('listen = ["tcp://127.9.9.9:1", "tcp://[::1]:1"]')).toEqual([]);
    const tls = '[grpc.tls]\ncert = "/c"\nkey = "/k"\n';
    expect(await problems(`listen = ["tcp://0.0.0.0:1"]\n${tls}`)).not.toEqual([]);
    expect(await problems(`listen = ["tcp://0.0.0.0:1"]\n${tls}client_ca = "/a"`)).toEqual([]);
    expect(await problems('[admin]\naddress = "tcp://0.0.0.0:1"')).toHaveLength(1);
  });

  it('names flags and variables', async () => {
    const { problems } = await readConfig({
      file,
      env: { KEELSON_LOG_LEVEL: 'loud', KEELSON_ROOTS: '/x', KEELSON_SOCKET: 'unix:///x' },
      flags: { cniConfDir: 'relative', listen: ['tcp://0.0.0.0:1'] },
    });
    expect(problems).toEqual([
      'KEELSON_ROOTS: there is no such setting',
      expect.stringMatching(/^KEELSON_LOG_LEVEL: log.level: /),
      '--cni-conf-dir: cni.conf_dir: must be an absolute path',
    ]);
    const whole = await readConfig({ file, flags: { listen: ['tcp://0.0.0.0:1'] } });
    expect(whole.problems).toEqual([expect.stringMatching(/^--listen: listen: /)]);
  });

  it('is not led astray by keys of the prototype', async () => {
    expect(await problems('["__proto__"]\nroot = "/x"')).toEqual([
      'FILE:1: unknown key "__proto__"',
    ]);
    expect(await problems('default_runtime = "constructor"')).toHaveLength(1);
  });
});

it('dumps a configuration that reads to the same result', async () => {
  await writeFile(file, 'listen = ["tcp://[::1]:9"]\n[runtimes."my.crun"]\ntype = "crun"\n');
  const flags = {
    defaultNetwork: true,
    registryConfigDir: '/a:/b',
    streamAddress: '::1',
    streamPort: '4321',
    logLevel: 'debug',
  };
  const config = await loadConfig({ file, flags });
  await writeFile(file, dumpConfig(config));
  expect(await loadConfig({ file })).toEqual(config);
});
