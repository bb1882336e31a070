import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Registrar } from '../../src/csi/registration/index.ts';
import { RegistrationService } from '../../src/gen/pluginregistration/v1/api.ts';
import { ScriptedDriver } from '../harness/csi/index.ts';
import { TestHost } from './host-fixture.ts';
import { waitFor } from './patience.ts';

// A machine that is busy takes its time.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const NAME = 'scripted.keelson.test';
let driver: ScriptedDriver;
let host: TestHost;
let answers: [ok: boolean, error: string][];

beforeEach(async () => {
  driver = await ScriptedDriver.start({
    topology: { 'scripted/zone': 'a' },
    maxVolumesPerNode: 7n,
  });
  host = await TestHost.start([]);
  answers = [];
});

afterEach(async () => {
  await host[Symbol.asyncDispose]();
  await driver[Symbol.asyncDispose]();
});

const registered = () => host.host.drivers.list().map(({ name }) => name);
const directory = () => join(host.kubelet, 'plugins_registry');

function registrar(changes: object = {}): Promise<Registrar> {
  return Registrar.open({
    ...{ driver: NAME, endpoint: driver.path, directory: directory() },
    registered: (ok, error) => answers.push([ok, error]),
    ...changes,
  });
}

test('a driver whose socket appears is registered and told so; it goes with its socket', async () => {
  await mkdir(join(directory(), 'deep'));
  await writeFile(join(directory(), 'deep', 'no-socket.sock'), '');
  const offer = await registrar();
  expect(offer.path).toBe(join(directory(), `${NAME}-reg.sock`));
  await waitFor('the answer', () => answers.length > 0);
  expect(answers).toEqual([[true, '']]);
  expect(registered()).toEqual([NAME]);
  await waitFor('the CSINode', () => host.find('CSINode', 'test-node')?.spec.drivers.length === 1);
  expect(host.get('CSINode', 'test-node').spec.drivers).toEqual([
    {
      name: NAME,
      nodeID: 'scripted-node',
      topologyKeys: ['scripted/zone'],
      allocatable: { count: 7 },
    },
  ]);
  await offer[Symbol.asyncDispose]();
  await waitFor('the driver to go', () => registered().length === 0);
  await waitFor('the CSINode', () => host.get('CSINode', 'test-node').spec.drivers.length === 0);
});

test('a socket that is there at the start, below a directory, is found', async () => {
  await host.close();
  await using _ = await registrar({ directory: join(directory(), 'below') });
  await host.open();
  await waitFor('the driver', () => registered().length === 1);
});

test('one that is not ready yet is tried again', async () => {
  driver.claims.ready = false;
  await using _ = await registrar();
  await waitFor('the refusal', () => answers.length > 0);
  expect(answers[0]).toEqual([false, expect.stringMatching(/not ready yet/)]);
  driver.claims.ready = true;
  await waitFor('the driver', () => registered().length === 1);
});

test.each([
  [
    'another name than it has',
    { driver: 'other.keelson.test' },
    /registered as "other\.keelson\.test"/,
  ],
  ['a socket where nobody is', { endpoint: '/absent/csi.sock' }, /there is no socket/],
  ['an endpoint that is no path', { endpoint: 'tcp://127.0.0.1:1' }, /Cannot use endpoint/],
])('one that gives %s is refused', async (_, changes, message) => {
  await using _offer = await registrar(changes);
  await waitFor('the refusal', () => answers.length > 0);
  expect(answers[0]).toEqual([false, expect.stringMatching(message)]);
  expect(registered()).toEqual([]);
});

test('a second driver of the same name is refused while the first is there', async () => {
  await using _first = await registrar();
  await waitFor('the driver', () => registered().length === 1);
  await using _second = await registrar({ directory: join(directory(), 'below') });
  await waitFor('the refusal', () => answers.length > 1);
  expect(answers[1]).toEqual([
    false,
    expect.stringMatching(/has registered one of that name already/),
  ]);
});

test.each([
  ['a device plugin', { type: 'DevicePlugin' }, /only CSIPlugin is supported/],
  ['a driver of another version', { supportedVersions: ['0.3.0', 'x'] }, /none of its versions/],
])('%s is refused', async (_, changes, message) => {
  const server = new Server();
  const info = {
    type: 'CSIPlugin',
    name: NAME,
    endpoint: driver.path,
    supportedVersions: ['1.0.0'],
  };
  server.addService(RegistrationService, {
    getInfo: (_call: unknown, answer: (error: null, info: object) => void) =>
      answer(null, { ...info, ...changes }),
    notifyRegistrationStatus: (
      { request }: { request: { pluginRegistered: boolean; error: string } },
      answer: (error: null, response: object) => void,
    ) => {
      answers.push([request.pluginRegistered, request.error]);
      answer(null, {});
    },
  });
  await new Promise<void>((resolve) => {
    server.bindAsync(`unix:${directory()}/odd.sock`, ServerCredentials.createInsecure(), () =>
      resolve(),
    );
  });
  await waitFor('the refusal', () => answers.length > 0);
  expect(answers[0]).toEqual([false, expect.stringMatching(message)]);
  server.forceShutdown();
});
