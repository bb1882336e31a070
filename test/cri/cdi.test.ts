import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ContainerConfig, DeepPartial } from '../../src/gen/runtime/v1/api.ts';
import { containerConfig, createContainer, output, type Pod, runPod } from '../harness/index.ts';
import { gvisorRefuses } from './gvisor-limits.ts';
import { codeOf, criSuite, runToEnd, shell } from './suite.ts';

const directory = await mkdtemp(join(tmpdir(), 'keelson-cdi-'));
const [usual, overriding] = [join(directory, 'etc'), join(directory, 'run')];
const suite = criSuite({
  config: [
    `[containers]\ncdi_spec_dirs = [${JSON.stringify(usual)}, ${JSON.stringify(overriding)}]`,
    '[runtimes.second]\ntype = "runc"\n',
  ].join('\n'),
});

let pods: Map<string, Pod>;
beforeAll(async () => {
  await mkdir(usual);
  await output('mknod', '-m', '640', join(directory, 'full'), 'c', '1', '7');
  await writeFile(join(directory, 'lib'), 'a library\n');
  // crun 1.8 fails if a hook does not read what it is told.
  const script = `#!/bin/sh\ncat > /dev/null\necho "$@ $KIND" >> ${directory}/hooked\n`;
  await writeFile(join(directory, 'hook'), script);
  await chmod(join(directory, 'hook'), 0o755);
  pods = new Map([
    ['crun', await runPod(suite.daemon)],
    ['runc', await runPod(suite.daemon, {}, 'second')],
  ]);
});
afterAll(() => rm(directory, { recursive: true }));

const DEVICE = 'vendor.example/thing=one';

/** A document with one device, of which the class has edits too. */
const document = (containerEdits: object = {}) => ({
  cdiVersion: '0.6.0',
  kind: 'vendor.example/thing',
  containerEdits: { env: ['CLASS=thing', 'OWN=replaced'] },
  devices: [
    {
      name: 'one',
      containerEdits: {
        env: ['DEVICE=one'],
        deviceNodes: [{ path: '/dev/thing', hostPath: join(directory, 'full'), permissions: 'rw' }],
        mounts: [
          { hostPath: join(directory, 'lib'), containerPath: '/usr/thing.so', options: ['ro'] },
        ],
        hooks: [
          {
            hookName: 'createRuntime',
            path: join(directory, 'hook'),
            args: ['hook', 'first'],
            env: ['KIND=thing'],
          },
        ],
        ...containerEdits,
      },
    },
    { name: 'two', containerEdits: { env: ['DEVICE=two'] } },
  ],
});

const write = (name: string, content: object, into = usual) =>
  writeFile(join(into, name), JSON.stringify(content));

async function say(
  pod: Pod | undefined,
  script: string,
  changes: DeepPartial<ContainerConfig>,
): Promise<string[]> {
  const all = { ...shell(`{ ${script}; } 2>&1`), ...changes };
  return (await runToEnd(suite.daemon, pod!, suite.image, all)).lines;
}

const asking = (...names: string[]) => ({ CDIDevices: names.map((name) => ({ name })) });

/** How the refusal of a container with these devices ends. */
async function refusal(changes: DeepPartial<ContainerConfig>): Promise<string> {
  const call = createContainer(
    suite.daemon,
    pods.get('crun')!,
    containerConfig(suite.image, changes),
  );
  return call.then(
    () => '',
    (error: { details?: string }) => error.details ?? String(error),
  );
}

for (const runtime of ['crun', 'runc']) {
  test(
    `${runtime}: a device brings nodes, variables, mounts, groups and hooks`,
    runtime === 'crun' ? gvisorRefuses : {},
    async () => {
      await write('thing.json', { ...document({ additionalGids: [4321] }), cdiVersion: '0.7.0' });
      await rm(join(directory, 'hooked'), { force: true });
      const script = [
        'echo $CLASS $DEVICE $OWN',
        'echo x > /dev/thing',
        'cat /usr/thing.so',
        'id -G',
        'echo x > /usr/thing.so || echo ro',
      ].join('; ');
      const lines = await say(pods.get(runtime), script, {
        ...asking(DEVICE),
        envs: [{ key: 'OWN', value: Buffer.from('own') }],
      });
      expect(lines[0]).toBe('thing one replaced');
      expect(lines[1]).toContain('No space left');
      expect(lines[2]).toBe('a library');
      expect(lines[3]!.split(' ')).toContain('4321');
      expect(lines.at(-1)).toBe('ro');
      expect(await readFile(join(directory, 'hooked'), 'utf8')).toBe('first thing\n');
    },
  );
}

test('what was not given to a container it cannot use', async () => {
  await write('thing.json', document());
  const script = 'mknod /tmp/full c 1 1 && cat /tmp/full > /dev/null; echo [$DEVICE]';
  expect((await say(pods.get('crun'), script, {})).at(-1)).toBe('[]');
});

test('annotations name devices too, and YAML is read', gvisorRefuses, async () => {
  await rm(join(usual, 'thing.json'), { force: true });
  const yaml = [
    'cdiVersion: "1.0.0"',
    'kind: other.example/class.sub',
    'devices:',
    '- name: a.b:c',
    '  containerEdits: {env: [FROM=yaml]}',
  ];
  await writeFile(join(usual, 'other.yaml'), yaml.join('\n'));
  await write('thing.json', document());
  const annotations = {
    'cdi.k8s.io/driver_1': 'other.example/class.sub=a.b:c, vendor.example/thing=two',
  };
  expect(await say(pods.get('crun'), 'echo $FROM $DEVICE $CLASS', { annotations })).toEqual([
    'yaml two thing',
  ]);
});

test('a later directory counts before an earlier one', gvisorRefuses, async () => {
  await write('thing.json', document());
  await mkdir(overriding, { recursive: true });
  await write('newer.json', document({ env: ['DEVICE=newer'] }), overriding);
  expect(await say(pods.get('crun'), 'echo $DEVICE', asking(DEVICE))).toEqual(['newer']);
  await rm(overriding, { recursive: true });
  expect(await say(pods.get('crun'), 'echo $DEVICE', asking(DEVICE))).toEqual(['one']);
});

test(
  'a device that cannot be found is refused by its name, with what is wrong',
  gvisorRefuses,
  async () => {
    await write('thing.json', document());
    expect(await refusal(asking('vendor.example/thing=three'))).toContain(
      'Cannot give CDI device "vendor.example/thing=three": no CDI document has it',
    );
    expect(await refusal({ annotations: { 'cdi.k8s.io/x': 'none/such=a' } })).toContain(
      '"none/such=a"',
    );
    await write('twice.json', document());
    expect(await refusal(asking(DEVICE))).toMatch(/thing\.json" as in ".*twice\.json"/);
    await rm(join(usual, 'twice.json'));
    const absent = { deviceNodes: [{ path: '/dev/absent' }] };
    await write('thing.json', document(absent));
    expect(await refusal(asking(DEVICE))).toContain('Cannot add device "/dev/absent"');
  },
);

test('documents that break the rules are not used, and say why', gvisorRefuses, async () => {
  const wrong: [object, string][] = [
    [{ ...document(), cdiVersion: '9.0.0' }, 'cdiVersion'],
    [{ ...document(), kind: 'vendor.example' }, 'kind'],
    [{ ...document(), devices: [] }, 'devices'],
    [{ ...document(), unknown: 1 }, 'unknown'],
    [document({ env: ['NOTHING'] }), 'NAME=VALUE'],
    [document({ hooks: [{ hookName: 'never', path: '/hook' }] }), 'hookName'],
    [document({ mounts: [{ hostPath: '/lib', containerPath: 'relative' }] }), 'containerPath'],
    [document({ deviceNodes: [{ path: '/dev/x', permissions: 'rwx' }] }), 'permissions'],
  ];
  for (const [content, reason] of wrong) {
    await write('thing.json', content);
    expect(await refusal(asking(DEVICE))).toContain(reason);
  }
  await write('thing.json', document());
  expect(
    await codeOf(
      createContainer(
        suite.daemon,
        pods.get('crun')!,
        containerConfig(suite.image, asking('no-name')),
      ),
    ),
  ).toBe('INVALID_ARGUMENT');
});
