import { connect as connectSocket } from 'node:net';
import { expect, test } from 'vitest';
import { criSuite } from '../cri/suite.ts';
import {
  ConnectedPlugin,
  containerConfig,
  createContainer,
  type PluginAnswers,
  pluginsOf,
  runPod,
  takesPart,
  waitFor,
} from '../harness/index.ts';
import { connector } from './connect.ts';

const suite = criSuite({
  config: '[nri]\nregistration_timeout = "1s"\nrequest_timeout = "1500ms"\n',
});
const connect = connector(suite);

const header = (connection: string, length: string) => `0000000${connection}${length}`;

test.each<[string, PluginAnswers[string] & {}, RegExp]>([
  ['hangs', { hang: true }, /did not answer CreateContainer within 1500 ms/],
  ['ends', { exit: true }, /connection is closed/],
  ['claims a giant frame', { bytes: header('1', '7fffffff') }, /claims 2147483647 bytes/],
  ['sends garbage', { bytes: 'ff'.repeat(64) }, /claims 4294967295 bytes/],
  [
    'answers what nobody asked',
    { bytes: `${header('1', '0000000a')}00000000000003e70200` },
    /nobody waits for type 2 on stream 999/,
  ],
  [
    'sends a giant message',
    { bytes: `${header('1', '0000000a')}7fffffff000000010200` },
    /claims 2147483647 bytes/,
  ],
  ['answers no message', { payload: '0affffff7f' }, /answer to CreateContainer is no message/],
])(
  'a plugin that %s is disconnected, and the pod goes on without it',
  async (_what, answer, why) => {
    const { daemon, image } = suite;
    const pod = await runPod(daemon);
    const bad = await connect('10-bad', { CreateContainer: answer });
    const log = daemon.log.length;
    await createContainer(daemon, pod, containerConfig(image));
    expect(bad.methods).toEqual(['Configure', 'Synchronize', 'CreateContainer']);
    expect(await takesPart(daemon, '10-bad')).toBe(false);
    await waitFor('the reason in the log', () => why.test(daemon.log.slice(log)));
  },
);

test.each<[string, string, PluginAnswers, RegExp]>([
  ['does not register', '10-mute', { RegisterPlugin: { hang: true } }, /register within 1000 ms/],
  ['has no index', 'x1-mute', {}, /index is not two digits/],
  ['has no name', '10-', {}, /name is not one/],
  [
    'wants unknown events',
    '10-odd',
    { Configure: { respond: { events: 1 << 20 } } },
    /unknown events: 0x100000/,
  ],
  ['fails to be configured', '10-odd', { Configure: { error: { code: 2, message: 'no' } } }, /no/],
  ['fails to synchronize', '10-odd', { Synchronize: { exit: true } }, /connection is closed/],
])('a plugin that %s takes no part', async (_what, name, answers, why) => {
  const { daemon } = suite;
  const log = daemon.log.length;
  await using plugin = ConnectedPlugin.launch(daemon, name, answers);
  await waitFor('the reason in the log', () => why.test(daemon.log.slice(log)));
  await plugin.ended();
  expect(await pluginsOf(daemon)).toEqual([]);
});

test('a client that is no plugin does no harm', async () => {
  const { daemon } = suite;
  const socket = connectSocket(daemon.paths.nriSocket);
  socket.on('error', () => {});
  socket.end('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await new Promise((resolve) => socket.once('close', resolve));
  await runPod(daemon);
});

test('a crash of the daemon in the middle of a request leaves nothing', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const plugin = await connect('10-slow', { CreateContainer: { hang: true } });
  const creation = createContainer(daemon, pod, containerConfig(image)).catch(() => {});
  await waitFor('the request', () => plugin.methods.includes('CreateContainer'));
  await daemon.kill9();
  await creation;
  await daemon.start();
  expect((await daemon.runtime.listContainers()).containers).toEqual([]);
});
