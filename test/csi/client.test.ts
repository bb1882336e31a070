import { afterEach, beforeEach, expect, test } from 'vitest';
import { onSpan, type SpanRecord } from '../../src/base/index.ts';
import {
  CsiClient,
  CsiError,
  describeDriver,
  outcomeOf,
  retryOf,
} from '../../src/csi/protocol/index.ts';
import {
  CreateVolumeRequest,
  type CreateVolumeResponse,
  DeleteVolumeRequest,
  NodeGetInfoResponse,
} from '../../src/gen/csi/v1/csi.ts';
import {
  answerGarbage,
  answerTwice,
  change,
  crashAfter,
  type Fault,
  failWith,
  hang,
  ScriptedDriver,
  workLate,
  workThenHang,
} from '../harness/csi/index.ts';

let driver: ScriptedDriver;
let client: CsiClient;

beforeEach(async () => {
  driver = await ScriptedDriver.start();
  client = new CsiClient(driver.endpoint, { driver: 'scripted' });
});

afterEach(async () => {
  client[Symbol.dispose]();
  await driver[Symbol.asyncDispose]();
});

const request = CreateVolumeRequest.fromPartial({
  name: 'pvc-1',
  capacityRange: { requiredBytes: 5n << 30n },
  volumeCapabilities: [{ accessType: { $case: 'mount', value: {} }, accessMode: { mode: 1 } }],
  secrets: { password: 'wallpaper-7', 'token"': 'with "quotes"' },
});

async function failureOf(work: Promise<unknown>): Promise<CsiError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CsiError);
  return error as CsiError;
}

test('calls work, one span each', async () => {
  const spans: SpanRecord[] = [];
  using _listener = onSpan((span) => spans.push(span));
  const { volume } = await client.controller.createVolume(request);
  expect(volume).toMatchObject({ volumeId: 'scripted-1', capacityBytes: 5n << 30n });
  expect(spans).toMatchObject([
    { name: 'csi.CreateVolume', attributes: { driver: 'scripted', subject: 'pvc-1' } },
  ]);
  await client.controller.deleteVolume(DeleteVolumeRequest.fromPartial({ volumeId: 'scripted-1' }));
  expect(driver.volumes.volumes.size).toBe(0);
});

test.each<[string, Fault, string, string, string]>([
  ['ABORTED', failWith('ABORTED', 'pending'), 'unknown', 'back-off', 'pending'],
  ['RESOURCE_EXHAUSTED', failWith('RESOURCE_EXHAUSTED', 'full'), 'unknown', 'back-off', 'full'],
  ['UNAVAILABLE', failWith('UNAVAILABLE', 'not now'), 'unknown', 'back-off', 'not now'],
  ['DEADLINE_EXCEEDED', failWith('DEADLINE_EXCEEDED', 'slow'), 'unknown', 'back-off', 'slow'],
  ['CANCELLED', failWith('CANCELLED', 'stopped'), 'unknown', 'back-off', 'stopped'],
  ['INTERNAL', failWith('INTERNAL', 'oh'), 'failed', 'back-off', 'oh'],
  ['NOT_FOUND', failWith('NOT_FOUND', 'no source'), 'failed', 'back-off', 'no source'],
  ['INVALID_ARGUMENT', failWith('INVALID_ARGUMENT', 'bad'), 'failed', 'changed', 'bad'],
  ['ALREADY_EXISTS', failWith('ALREADY_EXISTS', 'other'), 'failed', 'changed', 'other'],
  ['OUT_OF_RANGE', failWith('OUT_OF_RANGE', 'too big'), 'failed', 'changed', 'too big'],
  ['UNIMPLEMENTED', failWith('UNIMPLEMENTED', 'no'), 'failed', 'never', 'no'],
  ['INTERNAL', answerTwice, 'unknown', 'back-off', 'does not keep to the protocol'],
  ['INTERNAL', answerGarbage, 'unknown', 'back-off', 'does not keep to the protocol'],
  ['UNAVAILABLE', crashAfter, 'unknown', 'back-off', 'broke'],
  ['INTERNAL', change(() => ({})), 'unknown', 'back-off', 'the answer lacks volume'],
  ['DEADLINE_EXCEEDED', hang, 'unknown', 'back-off', 'no answer within 0.2 s'],
  ['DEADLINE_EXCEEDED', workThenHang, 'unknown', 'back-off', 'no answer within 0.2 s'],
  ['DEADLINE_EXCEEDED', workLate, 'unknown', 'back-off', 'no answer within 0.2 s'],
])('%s (case %#): outcome and retry', async (code, fault, outcome, retry, reason) => {
  driver.script('CreateVolume', fault);
  const error = await failureOf(client.controller.createVolume(request, { timeout: 200 }));
  expect(error.message).toMatch(/^Driver "scripted" cannot do CreateVolume of "pvc-1": /);
  expect(error.message).toContain(reason);
  expect([error.code, outcomeOf(error), retryOf(error)]).toEqual([code, outcome, retry]);
});

test('an answer that comes after the deadline disturbs no later call', async () => {
  driver.script('CreateVolume', workLate);
  await failureOf(client.controller.createVolume(request, { timeout: 100 }));
  const { volume } = await client.controller.createVolume(request);
  expect(volume?.volumeId).toBe('scripted-1');
});

test('a driver that was started anew is reached again', async () => {
  driver.vanish();
  const error = await failureOf(client.identity.probe({}));
  expect(error).toMatchObject({ code: 'UNAVAILABLE', answered: false });
  expect(error.message).toMatch(/there is no socket|nobody listens|broke/);
  await driver.listen();
  await expect
    .poll(() => client.identity.probe({}).catch(() => 'not yet'), { timeout: 10_000 })
    .toEqual({ ready: undefined });
});

test('a call ends with its signal, and says why', async () => {
  driver.script('CreateVolume', hang);
  const abort = new AbortController();
  const call = failureOf(client.controller.createVolume(request, { signal: abort.signal }));
  await driver.called('CreateVolume');
  abort.abort(new Error('the pod is gone'));
  expect(await call).toMatchObject({
    code: 'CANCELLED',
    message: expect.stringContaining('the pod is gone'),
  });
  const late = client.controller.createVolume(request, { signal: abort.signal });
  expect((await failureOf(late)).code).toBe('CANCELLED');
  expect(driver.count('CreateVolume')).toBe(1);
});

test('secrets that a driver repeats do not reach the error', async () => {
  const spans: SpanRecord[] = [];
  using _listener = onSpan((span) => spans.push(span));
  const words = 'bad password "wallpaper-7" or with "quotes" or with \\"quotes\\"\u0007';
  driver.script('CreateVolume', failWith('UNAUTHENTICATED', words));
  const error = await failureOf(client.controller.createVolume(request));
  expect(error.message).toContain('bad password "***stripped***" or');
  for (const text of [error.message, JSON.stringify(error.cause ?? ''), JSON.stringify(spans)]) {
    expect(text).not.toMatch(/wallpaper|quotes/);
  }
});

test('a flood of words is cut', async () => {
  driver.script('CreateVolume', failWith('INTERNAL', 'x'.repeat(6000)));
  const error = await failureOf(client.controller.createVolume(request));
  expect(error.message.length).toBeLessThan(2300);
});

test('endpoints are absolute paths of sockets', () => {
  expect(new CsiClient('/run/x.sock').path).toBe('/run/x.sock');
  expect(new CsiClient('unix:/run/x.sock').path).toBe('/run/x.sock');
  expect(() => new CsiClient('tcp://localhost:1')).toThrow(/absolute path/);
  expect(() => new CsiClient('unix://relative')).toThrow(/absolute path/);
  expect(() => new CsiClient(`/${'x'.repeat(107)}`)).toThrow(/at most 107 bytes/);
});

test('a driver is described with what it says it can do', async () => {
  driver.claims.topology = { zone: 'a' };
  expect(await describeDriver(client)).toMatchObject({
    ...{ name: 'scripted.keelson.test', version: '1.0.0-scripted', ready: true },
    plugin: ['CONTROLLER_SERVICE'],
    controller: expect.arrayContaining(['CREATE_DELETE_VOLUME']),
    node: { nodeId: 'scripted-node', topology: { zone: 'a' }, maxVolumes: 0n },
  });
});

test('names and ids that break the rules are refused', async () => {
  driver.claims.name = '../etc';
  expect((await failureOf(describeDriver(client))).message).toContain('lacks a proper name');
  driver.script(
    'NodeGetInfo',
    change(() => NodeGetInfoResponse.fromPartial({ nodeId: 'n'.repeat(257) })),
  );
  expect((await failureOf(client.node.nodeGetInfo({}))).message).toContain('at most 256 bytes');
  driver.script(
    'CreateVolume',
    change<CreateVolumeResponse>(({ volume }) => ({ volume: { ...volume, volumeId: '' } })),
  );
  expect((await failureOf(client.controller.createVolume(request))).message).toContain('volume_id');
});
