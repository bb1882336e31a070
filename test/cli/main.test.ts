import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/commands/index.ts';
import type { Surroundings } from '../../src/cli/index.ts';
import type { Config } from '../../src/config/index.ts';
import { FakeCri, grpcError, keelson } from './fake-cri.ts';

describe('the program', () => {
  it('tells its version and its commands', async () => {
    expect(await keelson(['--version'])).toMatchObject({ code: 0, stdout: '1.2.3\n' });
    const { code, stdout } = await keelson(['--help']);
    expect(code).toBe(0);
    for (const { name, summary } of COMMANDS) {
      expect(stdout).toMatch(new RegExp(`^  ${name} +${summary}$`, 'm'));
    }
  });

  it('tells the options of a command in both ways', async () => {
    const { stdout } = await keelson(['ps', '--help']);
    expect(stdout).toContain('--resolve-image-path');
    expect(await keelson(['help', 'ps'])).toMatchObject({ code: 0, stdout });
  });

  it.each([
    [[]],
    [['bogus']],
    [['--bogus']],
    [['ps', '--bogus']],
    [['ps', 'too-much']],
    [['ps', '-o', 'xml']],
    [['pull']],
    [['-r', 'http://x', 'ps']],
    [['-t', 'soon', 'ps']],
    [['config', 'bogus']],
    [['completion', 'tcsh']],
  ])('ends with 2 for %j', async (args) => {
    const { code, stdout, stderr } = await keelson(args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).not.toBe('');
  });

  it('writes a completion script with all commands', async () => {
    const { stdout } = await keelson(['completion', 'bash']);
    for (const { name } of COMMANDS) expect(stdout).toContain(`'keelson ${name}'`);
    expect(stdout).toContain('keelson config dump --registry-config-dir');
  });
});

describe('the socket', () => {
  const version = () => ({
    version: '0.1.0',
    runtimeName: 'fake',
    runtimeVersion: '1',
    runtimeApiVersion: 'v1',
  });

  it('is that of the flag, of KEELSON_SOCKET, or of crictl', async () => {
    await using fake = await FakeCri.start({ version });
    const { uri } = fake;
    const absent = 'unix:///absent.sock';
    const path = uri.replace('unix://', '');
    for (const [args, env] of [
      [['-r', uri], { KEELSON_SOCKET: absent }],
      [['--socket', path], {}],
      [[], { KEELSON_SOCKET: uri, CONTAINER_RUNTIME_ENDPOINT: absent }],
      [[], { CONTAINER_RUNTIME_ENDPOINT: uri }],
    ] as const) {
      expect((await keelson([...args, 'version'], { env })).code).toBe(0);
    }
  });

  it('of the image service may be another', async () => {
    await using runtime = await FakeCri.start({});
    await using image = await FakeCri.start({ listImages: () => ({ images: [] }) });
    const args = ['-r', runtime.uri, '-i', image.uri, 'images'];
    expect(await keelson(args)).toMatchObject({ code: 0 });
  });

  it('that is not there is told as such, with 4', async () => {
    const { code, stderr } = await keelson(['-r', '/absent/keelson.sock', 'ps']);
    expect(code).toBe(4);
    expect(stderr).toMatch(
      /^keelson: cannot reach the daemon at unix:\/\/\/absent\/keelson.sock: there is no such socket \(.*\)\n$/,
    );
  });

  it('that gives no answer is given up', async () => {
    await using fake = await FakeCri.start({ version: () => new Promise(() => {}) });
    const { code, stderr } = await keelson(['-r', fake.uri, '-t', '200ms', 'version']);
    expect(code).toBe(1);
    expect(stderr).toBe('keelson: cannot ask for the version: no answer within 0.2 s\n');
  });

  it('is let go when interrupted', async () => {
    const interrupt = new AbortController();
    await using fake = await FakeCri.start({
      version: () => {
        interrupt.abort();
        return new Promise(() => {});
      },
    });
    const ended = await keelson(['-r', fake.uri, 'version'], { signal: interrupt.signal });
    expect(ended).toEqual({ code: 130, stdout: '', stderr: '' });
  });

  it('answers errors, which are told in one line', async () => {
    await using fake = await FakeCri.start({
      version: () => {
        throw grpcError('INTERNAL', 'one\n  two');
      },
    });
    expect(await keelson(['-r', fake.uri, 'version'])).toMatchObject({
      code: 1,
      stderr: 'keelson: cannot ask for the version: one; two\n',
    });
    expect(await keelson(['-r', fake.uri, 'ps'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('cannot list containers'),
    });
  });
});

describe('serve and config', () => {
  let directory: string;
  let file: string;
  let served: Config | undefined;

  const serve: Surroundings['serve'] = async (config) => {
    served = config;
  };

  beforeEach(async () => {
    served = undefined;
    directory = await mkdtemp(join(tmpdir(), 'keelson-cli-'));
    file = join(directory, 'config.toml');
    await writeFile(file, '[log]\nlevel = "debug"\n');
  });

  afterEach(() => rm(directory, { recursive: true }));

  it('runs the daemon with files, environment and flags together', async () => {
    const args = [
      ...['serve', '--config', file, '--listen', 'unix:///a', '--listen', 'unix:///b'],
      ...['--cni-bin-dir', '/x:/y', '--default-network', '--root', '/r'],
    ];
    expect(await keelson(args, { serve, env: { KEELSON_STATE: '/s' } })).toMatchObject({ code: 0 });
    expect(served).toMatchObject({
      root: '/r',
      state: '/s',
      listen: ['unix:///a', 'unix:///b'],
      log: { level: 'debug' },
      cni: { binDirs: ['/x', '/y'], defaultNetwork: true },
    });
  });

  it('refuses a wrong configuration with its line, and runs nothing', async () => {
    await writeFile(file, '\nrot = 1\n');
    const { code, stderr } = await keelson(['serve', '-c', file], { serve });
    expect(code).toBe(2);
    expect(stderr).toBe(`keelson: cannot use the configuration: ${file}:2: unknown key "rot"\n`);
    expect(served).toBeUndefined();
  });

  it('tells where an error comes from that nobody expected', async () => {
    const broken = () => Promise.reject(new TypeError('x is not a function'));
    const { code, stderr } = await keelson(['serve', '-c', file], { serve: broken });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^keelson: x is not a function\n {4}at /);
  });

  it('checks, dumps and shows defaults', async () => {
    expect((await keelson(['config', 'check', '-c', file])).code).toBe(0);
    const env = { KEELSON_CONFIG: file };
    expect((await keelson(['config', 'dump'], { env })).stdout).toContain('level = "debug"');
    expect((await keelson(['config', 'default'])).stdout).toContain('level = "info"');
    await writeFile(file, 'root = "x"\nrot = 1\n');
    const { code, stderr } = await keelson(['config', 'check', '-c', file]);
    expect(code).toBe(2);
    expect(stderr.split('\n')).toHaveLength(3);
  });

  it('doctor tells a wrong configuration beside what the host has', async () => {
    await writeFile(file, 'rot = 1\n');
    const { code, stdout } = await keelson(['doctor', '-c', file, '-o', 'json']);
    expect(code).toBe(1);
    const { findings } = JSON.parse(stdout);
    expect(findings[0]).toMatchObject({ level: 'missing', subject: 'configuration' });
    const subjects = findings.map(({ subject }: { subject: string }) => subject);
    expect(subjects).toEqual(expect.arrayContaining(['kernel', 'cgroups', 'conmon', 'images']));
  });
});

describe('the manual', () => {
  it('has each command with each of its options', async () => {
    const manual = await readFile(new URL('../../docs/cli.md', import.meta.url), 'utf8');
    const sections = new Map(
      manual.split(/^## /m).map((section) => {
        const [title = '', ...text] = section.split('\n');
        return [title.replaceAll('`', ''), text.join('\n')];
      }),
    );
    for (const { name } of COMMANDS) {
      const section = sections.get(`keelson ${name}`);
      expect(section, `section of ${name}`).toBeDefined();
      const { stdout } = await keelson([name, '--help']);
      const options = [...stdout.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, flag]) => flag);
      for (const option of options.filter((flag) => flag !== '--help')) {
        expect(section, `${name} ${option}`).toContain(option);
      }
    }
  });
});
