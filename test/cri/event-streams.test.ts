import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server, ServerCredentials, type ServiceError } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Logger } from '../../src/base/index.ts';
import { Calls } from '../../src/cri/calls.ts';
import type { CriContext } from '../../src/cri/context.ts';
import { getContainerEvents } from '../../src/cri/get-container-events.ts';
import { serverStream } from '../../src/cri/server-stream.ts';
import {
  type ContainerEventResponse,
  RuntimeServiceService,
} from '../../src/gen/runtime/v1/api.ts';
import { PodEvents } from '../../src/pods/pod-events.ts';
import { RecordStore } from '../../src/pods/record-store.ts';
import type { ContainerRecord, SandboxRecord } from '../../src/pods/records.ts';
import { type CriClient, connect } from '../harness/client.ts';
import { waitFor } from '../harness/index.ts';

// More events than a daemon makes in a test, over a real connection.

const QUEUE = 100;
const quiet = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet } as Logger;

let directory: string;
let sandboxes: RecordStore<SandboxRecord>;
let server: Server;
let client: CriClient;
let calls: Calls;

beforeEach(async () => {
  // Records are written as events are made: in memory where there is room.
  const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  directory = await mkdtemp(join(base, 'keelson-events-'));
  sandboxes = new RecordStore(join(directory, 'sandboxes'), 'pod sandbox', ({ id }) => id);
  const containers = new RecordStore<ContainerRecord>(
    join(directory, 'c'),
    'container',
    ({ id }) => id,
  );
  const events = new PodEvents(sandboxes, containers, QUEUE);
  const context = { pods: { events }, logger: quiet } as unknown as CriContext;
  calls = new Calls();
  server = new Server();
  const { getContainerEvents: method } = RuntimeServiceService;
  server.addService(
    { getContainerEvents: method },
    { getContainerEvents: serverStream(context, calls, 'GetContainerEvents', getContainerEvents) },
  );
  const uri = `unix://${directory}/socket`;
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(uri, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  client = connect(uri);
});

afterEach(async () => {
  client.close();
  server.forceShutdown();
  await rm(directory, { recursive: true });
});

/** A pod that is made and removed: four events. */
async function churn(n: number, size = 1000): Promise<void> {
  const id = n.toString(16).padStart(64, '0');
  const labels = { filling: 'x'.repeat(size) };
  const record = {
    ...{ id, handler: 'crun', createdAt: '1', cgroupParent: '/x', cgroupDirectories: [] },
    ...{ namespaces: {}, init: undefined, ips: [], state: { phase: 'creating' } },
    config: {
      metadata: { name: `pod-${n}`, namespace: 'default', uid: id, attempt: 0 },
      ...{ labels, annotations: {}, namespaces: { network: 'node', ipc: 'pod', pid: 'container' } },
    },
  } as unknown as SandboxRecord;
  await sandboxes.add(record);
  const ready = await sandboxes.update(record, { state: { phase: 'ready' } });
  await sandboxes.update(ready, { state: { phase: 'stopped', networkReleased: true } });
  await sandboxes.remove(id);
}

/** Subscribes, and answers when the subscription counts. */
async function subscribe(by = client) {
  const stream = by.runtime.getContainerEvents();
  const events: string[] = [];
  const ended = Promise.withResolvers<ServiceError | undefined>();
  stream
    .on('error', (error) => ended.resolve(error as ServiceError))
    .on('end', () => ended.resolve(undefined));
  await new Promise((resolve) => stream.once('metadata', resolve));
  const read = () =>
    stream.on('data', ({ containerId, containerEventType }: ContainerEventResponse) => {
      events.push(`${Number.parseInt(containerId, 16)} ${containerEventType}`);
    });
  return { stream, events, ended: ended.promise, read };
}

test('all of many subscribers hear everything once, in one order, from the head of the answer on', async () => {
  await churn(1);
  const subscribers = await Promise.all(Array.from({ length: 10 }, () => subscribe()));
  for (const { read } of subscribers) read();
  for (let n = 2; n < 40; n++) await churn(n);
  const expected = Array.from({ length: 38 }, (_, n) =>
    [0, 1, 2, 3].map((type) => `${n + 2} ${type}`),
  ).flat();
  for (const { events, stream } of subscribers) {
    await waitFor('all events', async () => events.length >= expected.length, 20_000);
    expect(events).toEqual(expected);
    stream.cancel();
  }
});

test('one that does not read is dropped with an error, and hears it when it reads; others go on', async () => {
  // Streams of one connection share its flow control: the slow one has its own.
  using other = connect(`unix://${directory}/socket`);
  const [slow, quick] = [await subscribe(other), await subscribe()];
  quick.read();
  // A client that never reads at all takes everything into its own memory.
  slow.read();
  slow.stream.once('data', () => slow.stream.pause());
  let n = 0;
  const before = process.memoryUsage().heapUsed;
  // Much more than the queue and what the connection itself takes in.
  for (; n < 80; n++) await churn(n, 200_000);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(200 << 20);
  slow.stream.resume();
  expect(await slow.ended).toMatchObject({
    code: 8,
    details: expect.stringContaining('subscribe again'),
  });
  // What it heard before has no gap.
  expect(slow.events.length).toBeGreaterThan(0);
  expect(slow.events.length).toBeLessThan(n * 4);
  expect(slow.events).toEqual(quick.events.slice(0, slow.events.length));
  await waitFor('all events', async () => quick.events.length === n * 4, 20_000);
  quick.stream.cancel();
});

test('one that stopped reading does not keep the daemon from ending, nor one that is gone', async () => {
  const { stream, read } = await subscribe();
  read();
  stream.once('data', () => stream.pause());
  const gone = await subscribe();
  gone.stream.cancel();
  for (let n = 0; n < 60; n++) await churn(n, 200_000);
  await calls.drain(60_000);
});
