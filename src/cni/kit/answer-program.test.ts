import { expect, test } from 'vitest';
import { NEVER } from '../../base/index.ts';
import {
  CNI_ERROR,
  CniError,
  emptyResult,
  type PluginCall,
  type PluginInvoker,
} from '../spec/index.ts';
import { answerProgram } from './answer-program.ts';
import type { PluginProgram } from './plugin-program.ts';

const VARIABLES = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c1',
  CNI_NETNS: '/run/netns/absent',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/opt/cni/bin:/usr/lib/cni',
  CNI_ARGS: 'A=1',
};
const CONFIG = { cniVersion: '1.1.0', name: 'net', type: 'mine' };
const RESULT = {
  ...emptyResult(),
  interfaces: [{ name: 'eth0', mtu: 1400, sandbox: '/run/netns/x' }],
  ips: [{ address: '10.1.0.5/24', interface: 0 }],
};

const nobody: PluginInvoker = {
  invoke: () => Promise.reject(new Error('not in this test')),
  find: async () => undefined,
  versions: async () => [],
};

interface Given {
  env?: Record<string, string | undefined>;
  config?: unknown;
  program?: Partial<PluginProgram>;
}

/** Has a plugin answer; `calls` are those that came to it. */
async function answer({ env = {}, config = {}, program = {} }: Given) {
  const calls: PluginCall[] = [];
  const note = async (call: PluginCall) => {
    calls.push(call);
  };
  const add = async (call: PluginCall) => {
    calls.push(call);
    return RESULT;
  };
  const text =
    typeof config === 'string' ? config : JSON.stringify({ ...CONFIG, ...(config as object) });
  const { code, stdout, stderr } = await answerProgram(
    { add, del: note, check: note, gc: note, status: note, ...program },
    { env: { ...VARIABLES, ...env }, text },
    { delegates: nobody, signal: NEVER },
  );
  return { code, stderr, calls, output: stdout === '' ? undefined : JSON.parse(stdout) };
}

test('ADD is told all, and its result has the form of the version asked', async () => {
  const { code, calls, output } = await answer({ config: { cniVersion: '0.3.1', more: 1 } });
  expect(code).toBe(0);
  expect(calls[0]).toMatchObject({
    ...{ command: 'ADD', containerId: 'c1', netns: '/run/netns/absent', ifname: 'eth0' },
    ...{ args: 'A=1', path: ['/opt/cni/bin', '/usr/lib/cni'] },
    config: { cniVersion: '0.3.1', name: 'net', type: 'mine', more: 1 },
  });
  expect(output).toEqual({
    cniVersion: '0.3.1',
    interfaces: [{ name: 'eth0', sandbox: '/run/netns/x' }],
    ips: [{ version: '4', address: '10.1.0.5/24', interface: 0 }],
    dns: {},
  });
});

test('prevResult of an old version comes in the newest form', async () => {
  const prevResult = { cniVersion: '0.2.0', ip4: { ip: '10.1.0.9/24', gateway: '10.1.0.1' } };
  const { calls } = await answer({ config: { cniVersion: '0.2.0', prevResult } });
  expect(calls[0]?.config.prevResult?.ips).toEqual([
    { address: '10.1.0.9/24', gateway: '10.1.0.1' },
  ]);
});

test('a result without address cannot be said before 0.3.0', async () => {
  const program = { add: async () => emptyResult() };
  for (const cniVersion of ['0.1.0', '0.2.0']) {
    const { code, output } = await answer({ config: { cniVersion }, program });
    expect({ code, output }).toMatchObject({ code: 1, output: { cniVersion, code: 999 } });
  }
  expect((await answer({ config: { cniVersion: '0.3.0' }, program })).code).toBe(0);
});

test.each(['DEL', 'CHECK', 'GC', 'STATUS'])('%s prints nothing', async (command) => {
  const config = { 'cni.dev/valid-attachments': [{ containerID: 'a', ifname: 'eth0' }] };
  const { code, calls, output } = await answer({ env: { CNI_COMMAND: command }, config });
  expect({ code, output }).toEqual({ code: 0, output: undefined });
  expect(calls[0]?.command).toBe(command);
  const general = command === 'GC' || command === 'STATUS';
  expect(calls[0]?.containerId).toBe(general ? '' : 'c1');
});

test('GC and STATUS succeed where a plugin has nothing to do for them', async () => {
  const { add, del, check } = {
    add: async () => RESULT,
    del: async () => {},
    check: async () => {},
  };
  for (const command of ['GC', 'STATUS']) {
    const { code } = await answerProgram(
      { add, del, check },
      {
        env: { ...VARIABLES, CNI_COMMAND: command },
        text: JSON.stringify(CONFIG),
      },
      { delegates: nobody, signal: NEVER },
    );
    expect(code).toBe(0);
  }
});

test('GC is told the attachments under either key, and none if there is none', async () => {
  const valid = [{ containerID: 'a', ifname: 'eth0' }];
  const keys = ['cni.dev/valid-attachments', 'cni.dev/attachments'];
  for (const config of [...keys.map((key) => ({ [key]: valid })), {}]) {
    const { code, calls } = await answer({ env: { CNI_COMMAND: 'GC' }, config });
    const expected = Object.keys(config).length === 0 ? [] : valid;
    expect(code).toBe(0);
    expect(calls[0]?.config['cni.dev/valid-attachments']).toEqual(expected);
  }
});

test('a key may be repeated where only the last one counts', async () => {
  const text =
    '{"cniVersion":"1.0.0","name":"x","sysctl":{"a":"b"},"y":[{"a":1,"a":2},{"a":3}],"name":"net"}';
  expect((await answer({ config: text })).calls[0]?.config).toMatchObject({ name: 'net' });
});

test('VERSION tells the versions without a configuration', async () => {
  const env = { CNI_COMMAND: 'VERSION', CNI_PATH: undefined };
  expect((await answer({ env, config: '' })).output).toMatchObject({ cniVersion: '1.1.0' });
  const program = { supportedVersions: ['1.0.0'] as const };
  expect((await answer({ env, config: '{"cniVersion":"0.4.0"}', program })).output).toEqual({
    cniVersion: '0.4.0',
    supportedVersions: ['1.0.0'],
  });
});

test('started by hand it tells what it is', async () => {
  const { code, stderr } = await answer({ env: { CNI_COMMAND: '' }, program: { about: 'mine' } });
  expect(code).toBe(0);
  expect(stderr).toMatch(/^mine\nCNI protocol versions supported: 0.1.0, .*1.1.0\n$/);
});

test.each<[number, RegExp, Given]>([
  [4, /\[CNI_COMMAND\] missing/, { env: { CNI_COMMAND: '' } }],
  [4, /unknown CNI_COMMAND: "UPDATE"/, { env: { CNI_COMMAND: 'UPDATE' } }],
  [4, /unknown CNI_COMMAND/, { env: { CNI_COMMAND: 'constructor' } }],
  [
    4,
    /\[CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH\] missing/,
    { env: { CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: undefined, CNI_PATH: undefined } },
  ],
  [4, /\[CNI_IFNAME\] missing/, { env: { CNI_COMMAND: 'DEL', CNI_NETNS: '', CNI_IFNAME: '' } }],
  [4, /\[CNI_PATH\] missing/, { env: { CNI_COMMAND: 'STATUS', CNI_PATH: '' } }],
  [4, /Invalid CNI_CONTAINERID/, { env: { CNI_CONTAINERID: '../x' } }],
  [4, /Invalid CNI_IFNAME/, { env: { CNI_IFNAME: 'interface-too-long' } }],
  [8, /should not be the same/, { env: { CNI_NETNS: '/proc/self/ns/net' } }],
  [6, /standard input is empty/, { config: '' }],
  [6, /cannot read/, { config: '{"cniVersion":' }],
  [6, /an object/, { config: '[]' }],
  [6, /"a.b" is duplicated/, { config: '{"x":["sysctl"],"sysctl":{"a.b":"{","c":"","a.b":"1"}}' }],
  [6, /cniVersion/, { config: { cniVersion: 1 } }],
  [6, /runtimeConfig/, { config: { runtimeConfig: 'x' } }],
  [6, /prevResult/, { config: { prevResult: { ips: 'x' } } }],
  [1, /config is "9.9.9"/, { config: { cniVersion: '9.9.9' } }],
  [1, /supports "1.0.0"/, { program: { supportedVersions: ['1.0.0'] } }],
  [1, /does not allow CHECK/, { env: { CNI_COMMAND: 'CHECK' }, config: { cniVersion: '0.3.1' } }],
  [1, /does not allow GC/, { env: { CNI_COMMAND: 'GC' }, config: { cniVersion: '1.0.0' } }],
  [7, /missing network name/, { config: { name: undefined } }],
  [7, /invalid network name/, { config: { name: '../x' } }],
  [7, /network name/, { config: { name: 'te%%st', cniVersion: '9.9.9' } }],
  [6, /"new" is no version/, { env: { CNI_COMMAND: 'CHECK' }, config: { cniVersion: 'new' } }],
  [1, /config is "new"/, { config: { cniVersion: 'new' } }],
])('error %i: %s', async (code, message, given) => {
  const { calls, output, ...ended } = await answer(given);
  expect(ended.code).toBe(1);
  expect(calls).toEqual([]);
  expect(output.code).toBe(code);
  expect(`${output.msg}: ${output.details ?? ''}`).toMatch(message);
});

test('the own namespace is allowed by CNI_NETNS_OVERRIDE', async () => {
  const env = { CNI_NETNS: '/proc/self/ns/net', CNI_NETNS_OVERRIDE: 'true' };
  expect((await answer({ env })).code).toBe(0);
});

test('errors of a plugin keep code and details; those of others come with their trace', async () => {
  const failing = (error: Error) => ({ program: { add: () => Promise.reject(error) } });
  const own = new CniError(CNI_ERROR.TRY_AGAIN_LATER, 'no lease', { details: 'asked twice' });
  const config = { cniVersion: '0.4.0' };
  expect(await answer({ ...failing(own), config })).toMatchObject({
    ...{ code: 1, stderr: '' },
    output: { cniVersion: '0.4.0', code: 11, msg: 'no lease', details: 'asked twice' },
  });
  const bug = await answer(failing(new TypeError('x is not a function')));
  expect(bug.output).toEqual({ cniVersion: '1.1.0', code: 999, msg: 'x is not a function' });
  expect(bug.stderr).toMatch(/^TypeError: x is not a function\n {4}at /);
});

test('a plugin may be an instance of a class', async () => {
  class Mine implements PluginProgram {
    readonly #result = RESULT;
    async add() {
      return this.#result;
    }
    async del() {}
    async check() {}
  }
  const { code } = await answerProgram(
    new Mine(),
    { env: VARIABLES, text: JSON.stringify(CONFIG) },
    { delegates: nobody, signal: NEVER },
  );
  expect(code).toBe(0);
});
