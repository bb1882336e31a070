import { chmod, copyFile, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NEVER, onSpan, sleep } from '../../src/base/index.ts';
import {
  CniError,
  cniErrorOf,
  ExecInvoker,
  type PluginCall,
  type PluginConfig,
} from '../../src/cni/index.ts';
import { identifyProcess } from '../../src/linux/index.ts';
import { waitFor } from '../harness/wait-for.ts';
import { failing, ScriptedPlugins } from './scripted-plugins.ts';

let plugins: ScriptedPlugins;

beforeEach(async () => {
  plugins = await ScriptedPlugins.create();
});

afterEach(() => plugins[Symbol.asyncDispose]());

const config: PluginConfig = { cniVersion: '1.0.0', name: 'net', type: 'it', x: { y: 1 } };

function call(changes: Partial<PluginCall> = {}): PluginCall {
  return {
    command: 'ADD',
    containerId: 'c1',
    netns: '/run/netns/c1',
    ifname: 'eth0',
    args: 'A=1;B=2',
    path: [plugins.bin, '/elsewhere'],
    config,
    signal: NEVER,
    ...changes,
  };
}

async function failure(work: Promise<unknown>): Promise<CniError> {
  const error = await work.then(
    () => new Error('it succeeded'),
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(CniError);
  return error as CniError;
}

const PRINT_RESULT = `echo '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/8"}]}'`;

describe('a plugin program', () => {
  test('gets environment and configuration by the specification, and answers a result', async () => {
    await plugins.add(
      'it',
      `env > ${plugins.path('env')}; cat > ${plugins.path('in')}; ${PRINT_RESULT}`,
    );
    const invoker = new ExecInvoker({ PATH: process.env['PATH'], HOME: '/h', CNI_OLD: 'x' });
    const result = await invoker.invoke('it', call());
    expect(result?.ips).toEqual([{ address: '10.0.0.2/8' }]);
    expect(JSON.parse(await readFile(plugins.path('in'), 'utf8'))).toEqual(config);
    const env = (await readFile(plugins.path('env'), 'utf8')).split('\n');
    expect(env.filter((line) => line.startsWith('CNI_')).sort()).toEqual([
      'CNI_ARGS=A=1;B=2',
      'CNI_COMMAND=ADD',
      'CNI_CONTAINERID=c1',
      'CNI_IFNAME=eth0',
      'CNI_NETNS=/run/netns/c1',
      `CNI_PATH=${plugins.bin}:/elsewhere`,
    ]);
    expect(env).toContain('HOME=/h');
  });

  test.each(['GC', 'STATUS'] as const)('is told of no container by %s', async (command) => {
    await plugins.add('it', `env | grep ^CNI_ > ${plugins.path('env')}`);
    await new ExecInvoker().invoke('it', call({ command }));
    const env = (await readFile(plugins.path('env'), 'utf8')).trim().split('\n').sort();
    expect(env).toEqual([`CNI_COMMAND=${command}`, `CNI_PATH=${plugins.bin}:/elsewhere`]);
  });

  test('gets prevResult in the form of its version', async () => {
    await plugins.add('it', `cat > ${plugins.path('in')}`);
    const prevResult = {
      interfaces: [],
      ips: [{ address: '10.0.0.2/8' }],
      routes: [],
      dns: {},
    };
    const old: PluginConfig = { ...config, cniVersion: '0.4.0', prevResult };
    await new ExecInvoker().invoke('it', call({ command: 'DEL', config: old }));
    expect(JSON.parse(await readFile(plugins.path('in'), 'utf8')).prevResult).toEqual({
      cniVersion: '0.4.0',
      ips: [{ version: '4', address: '10.0.0.2/8' }],
      dns: {},
    });
  });

  test('may ignore its input', async () => {
    await plugins.add('it', `exec 0<&-; ${PRINT_RESULT}`);
    const big = { ...config, filler: 'x'.repeat(1_000_000) };
    await expect(new ExecInvoker().invoke('it', call({ config: big }))).resolves.toBeDefined();
  });

  test('is found in the first directory that has such a file', async () => {
    const second = plugins.path('second');
    await mkdir(second);
    await mkdir(join(plugins.bin, 'a'));
    await writeFile(join(second, 'a'), '');
    await writeFile(join(plugins.bin, 'b'), '');
    await writeFile(join(second, 'b'), '');
    const invoker = new ExecInvoker();
    const path = ['', join(second, 'a', 'no-directory'), '/nowhere', plugins.bin, second];
    expect(await invoker.find('a', path)).toBe(join(second, 'a'));
    expect(await invoker.find('b', path)).toBe(join(plugins.bin, 'b'));
    expect(await invoker.find('c', path)).toBeUndefined();
  });

  test('is a span', async () => {
    await plugins.add('it', PRINT_RESULT);
    const spans: object[] = [];
    using _ = onSpan(({ name, attributes }) => spans.push({ name, ...attributes }));
    await new ExecInvoker().invoke('it', call());
    expect(spans).toEqual([
      {
        name: 'cni.ADD',
        plugin: 'it',
        network: 'net',
        containerId: 'c1',
        ifname: 'eth0',
        netns: '/run/netns/c1',
        program: join(plugins.bin, 'it'),
        input: JSON.stringify(call().config),
        result: expect.stringContaining('"10.0.0.2/8"'),
      },
    ]);
  });
});

describe('a plugin that fails', () => {
  test('with an error object', async () => {
    await plugins.add('it', `echo trouble >&2; ${failing(11, 'range is full')}`);
    const error = await failure(new ExecInvoker().invoke('it', call()));
    expect(error).toMatchObject({ cniCode: 11, msg: 'range is full', code: 'UNAVAILABLE' });
    expect(error.details).toBe('trouble');
  });

  test('with nothing but stderr', async () => {
    await plugins.add('it', 'echo panic: oh no >&2; exit 2');
    const error = await failure(new ExecInvoker().invoke('it', call()));
    expect(error.cniCode).toBe(999);
    expect(error.message).toMatch(/bin\/it" failed ADD: exit code 2: panic: oh no/);
  });

  test('with something else on stdout', async () => {
    await plugins.add('it', 'echo "{oh no"; exit 3');
    const error = await failure(new ExecInvoker().invoke('it', call()));
    expect(error.message).toMatch(/exit code 3: \{oh no/);
  });

  test('by crashing without a word', async () => {
    await plugins.add('it', 'kill -SEGV $$');
    const error = await failure(new ExecInvoker().invoke('it', call()));
    expect(error.message).toMatch(/ended by SIGSEGV, without a word/);
  });

  test('with more words than anyone reads', async () => {
    await plugins.add('it', 'head -c 500000 /dev/zero | tr "\\0" x >&2; echo END >&2; exit 1');
    const error = await failure(new ExecInvoker().invoke('it', call()));
    expect(error.message.length).toBeLessThan(5000);
    expect(error.message).toMatch(/xEND$/);
  });
});

describe('a plugin that succeeds with', () => {
  test.each([
    ['garbage', 'echo garbage', /Result of CNI plugin "it".*"garbage/],
    ['nothing', 'true', /it is empty/],
    ['binary', 'head -c 1000 /dev/urandom', /Result of CNI plugin "it"/],
    ['another thing', 'echo "[1]"', /expected an object/],
    ['a bad address', `echo '{"ips":[{"address":"x"}]}'`, /ips\[0\]\.address/],
  ])('%s', async (_, script, message) => {
    await plugins.add('it', script);
    const error = await failure(new ExecInvoker().invoke('it', call()));
    expect(error.cniCode).toBe(6);
    expect(error.message).toMatch(message);
    expect(error.message.length).toBeLessThan(1000);
  });

  test.each([
    ['100 MB', 'head -c 100000000 /dev/zero'],
    ['output that never ends', 'exec cat /dev/zero'],
  ])('%s', async (_, script) => {
    await plugins.add('it', script);
    const error = await failure(new ExecInvoker().invoke('it', call()));
    expect(error.message).toMatch(/printed more than 1048576 bytes/);
  });
});

describe('a program that cannot run', () => {
  test('is missing', async () => {
    const error = await failure(new ExecInvoker().invoke('it', call()));
    expect(error.cniCode).toBe(7);
    expect(error.message).toMatch(/Cannot find CNI plugin "it".*bin", "\/elsewhere".*install/);
  });

  test('has a path for a name', async () => {
    await failure(new ExecInvoker().invoke('../bin/it', call()));
    await failure(new ExecInvoker().invoke('', call()));
  });

  test('is not executable', async () => {
    await writeFile(join(plugins.bin, 'it'), 'x', { mode: 0o644 });
    const error = await failure(new ExecInvoker().invoke('it', call()));
    expect(error.cniCode).toBe(5);
    expect(error.message).toMatch(/Cannot run CNI plugin .*is the file executable/);
  });

  test('is being written, for a while', async () => {
    const program = join(plugins.bin, 'it');
    await copyFile('/bin/true', program);
    await chmod(program, 0o755);
    const writer = await open(program, 'r+');
    const closed = sleep(300).then(() => writer.close());
    await new ExecInvoker().invoke('it', call({ command: 'DEL' }));
    await closed;
  });
});

test('a hanging plugin is killed with all that it started', async () => {
  const pids = plugins.path('pids');
  await plugins.add('it', `sleep 1000 & echo $! $$ > ${pids}.new; mv ${pids}.new ${pids}; wait`);
  const abort = new AbortController();
  const invocation = new ExecInvoker().invoke('it', call({ signal: abort.signal }));
  invocation.catch(() => {});
  const text = await waitFor('the plugin to start', () => readFile(pids, 'utf8'));
  abort.abort(new Error('enough'));
  await expect(invocation).rejects.toThrow('enough');
  await waitFor('its processes to end', () =>
    text
      .trim()
      .split(' ')
      .every((pid) => identifyProcess(Number(pid)) === undefined),
  );
});

describe('VERSION', () => {
  test('answers what the plugin says', async () => {
    await plugins.add(
      'it',
      `test $CNI_COMMAND = VERSION && echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","9.9.9"]}'`,
    );
    const versions = await new ExecInvoker().versions('it', [plugins.bin], NEVER);
    expect(versions).toEqual(['0.4.0', '9.9.9']);
  });

  test('of a plugin that does not know it is the oldest', async () => {
    const required = 'test "$CNI_NETNS" && test "$CNI_IFNAME" && test "$CNI_PATH" || exit 1';
    await plugins.add('it', `${required}\n${failing(4, 'unknown CNI_COMMAND: VERSION')}`);
    expect(await new ExecInvoker().versions('it', [plugins.bin], NEVER)).toEqual(['0.1.0']);
  });

  test('of a plugin that talks nonsense is an error', async () => {
    await plugins.add('it', `echo '{"supportedVersions":7}'`);
    const error = await new ExecInvoker().versions('it', [plugins.bin], NEVER).catch((e) => e);
    expect(cniErrorOf(error)?.message).toMatch(/supportedVersions: expected an array/);
  });
});
