import { expect, test } from 'vitest';
import { NEVER, onSpan } from '../../base/index.ts';
import {
  CNI_VERSIONS,
  type CniVersion,
  emptyResult,
  type Plugin,
  type PluginCall,
  type PluginInvoker,
} from '../spec/index.ts';
import { SelectingInvoker } from './selecting-invoker.ts';

function call(changes: Partial<PluginCall> = {}): PluginCall {
  return {
    command: 'ADD',
    ...{ containerId: 'c', netns: '/n', ifname: 'eth0', args: '' },
    path: ['/opt/bin'],
    config: { cniVersion: '1.0.0', name: 'net', type: 'bridge' },
    signal: NEVER,
    ...changes,
  };
}

/** What was run, in order. */
let log: string[] = [];

function plugin(type: string, supportedVersions: readonly CniVersion[] = CNI_VERSIONS): Plugin {
  const note = (what: string) => async (_: PluginCall, delegates: PluginInvoker) => {
    log.push(`builtin ${what} ${type}`);
    if (type === 'bridge' && what === 'ADD') await delegates.invoke('host-local', call());
  };
  return {
    ...{ type, supportedVersions },
    add: async (...args) => {
      await note('ADD')(...args);
      return emptyResult();
    },
    ...{ del: note('DEL'), check: note('CHECK'), gc: note('GC'), status: note('STATUS') },
  };
}

/** Programs as they would be found: `/opt/bin/bridge`. */
function programs(...present: string[]): PluginInvoker {
  return {
    invoke: async (type, { command }) => {
      log.push(`program ${command} ${type}`);
      return undefined;
    },
    find: async (type, path) =>
      path.map((directory) => `${directory}/${type}`).find((each) => present.includes(each)),
    versions: async () => ['0.1.0'],
  };
}

const builtIns = [plugin('bridge'), plugin('host-local')];

async function runs(invoker: SelectingInvoker, changes: Partial<PluginCall> = {}) {
  log = [];
  await invoker.invoke('bridge', call(changes));
  return log;
}

test('what is built in needs no program, nor does what it delegates to', async () => {
  const invoker = new SelectingInvoker({ builtIns, programs: programs() });
  expect(await runs(invoker)).toEqual(['builtin ADD bridge', 'builtin ADD host-local']);
  expect(await invoker.find('bridge', ['/opt/bin'])).toBe('builtin');
  expect(await invoker.find('calico', ['/opt/bin'])).toBeUndefined();
  expect(await invoker.versions('bridge', [], NEVER)).toEqual([...CNI_VERSIONS]);
});

test.each(['DEL', 'CHECK', 'GC', 'STATUS'] as const)('%s is passed on', async (command) => {
  const invoker = new SelectingInvoker({ builtIns, programs: programs() });
  expect(await runs(invoker, { command })).toEqual([`builtin ${command} bridge`]);
});

test('a program in the plugin directories takes the place of a built-in plugin', async () => {
  const invoker = new SelectingInvoker({ builtIns, programs: programs('/opt/bin/bridge') });
  expect(await runs(invoker)).toEqual(['program ADD bridge']);
  expect(await invoker.find('bridge', ['/opt/bin'])).toBe('/opt/bin/bridge');
  expect(await invoker.versions('bridge', ['/opt/bin'], NEVER)).toEqual(['0.1.0']);
});

test('a built-in plugin may delegate to a program', async () => {
  const invoker = new SelectingInvoker({ builtIns, programs: programs('/opt/bin/host-local') });
  expect(await runs(invoker)).toEqual(['builtin ADD bridge', 'program ADD host-local']);
});

test('only programs in the override directories count, unless programs are preferred', async () => {
  const options = {
    builtIns,
    programs: programs('/usr/lib/cni/bridge'),
    overrideDirs: ['/opt/bin'],
  };
  const path = ['/opt/bin', '/usr/lib/cni'];
  const patient = new SelectingInvoker(options);
  expect((await runs(patient, { path }))[0]).toBe('builtin ADD bridge');
  const eager = new SelectingInvoker({ ...options, prefer: 'exec' });
  expect(await runs(eager, { path })).toEqual(['program ADD bridge']);
  expect((await runs(eager))[0]).toBe('builtin ADD bridge');
});

test('a version that a built-in plugin does not speak is refused as a program would', async () => {
  const invoker = new SelectingInvoker({
    builtIns: [plugin('bridge', ['0.4.0'])],
    programs: programs(),
  });
  await expect(invoker.invoke('bridge', call())).rejects.toMatchObject({
    cniCode: 1,
    message: 'incompatible CNI versions: config is "1.0.0", plugin "bridge" supports "0.4.0"',
  });
});

test('each call of a built-in plugin is a span', async () => {
  const spans: object[] = [];
  using _ = onSpan(({ name, attributes }) => spans.push({ name, program: attributes['program'] }));
  await new SelectingInvoker({ builtIns, programs: programs() }).invoke('bridge', call());
  const expected = { name: 'cni.ADD', program: 'builtin' };
  expect(spans).toEqual([expected, expected]);
});
