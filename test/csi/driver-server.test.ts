import { existsSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KeelsonError, type Logger, SILENT } from '../../src/base/index.ts';
import { type CsiDriver, DriverServer } from '../../src/csi/kit/index.ts';
import { CsiClient } from '../../src/csi/protocol/index.ts';
import { CreateVolumeRequest, DeleteVolumeRequest } from '../../src/gen/csi/v1/csi.ts';
import { waitFor } from '../harness/index.ts';

let directory: string;
let path: string;
let client: CsiClient;
let lines: string[];

/** Keeps all that is logged. */
const logger: Logger = {
  debug: (fields, message) => lines.push(JSON.stringify({ ...fields, message })),
  info: (fields, message) => lines.push(JSON.stringify({ ...fields, message })),
  warn: (fields, message) => lines.push(JSON.stringify({ ...fields, message })),
  error: (fields, message) => lines.push(JSON.stringify({ ...fields, message })),
  child: () => logger,
};

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-csi-'));
  path = join(directory, 'csi.sock');
  client = new CsiClient(path);
  lines = [];
});

afterEach(async () => {
  client[Symbol.dispose]();
  await rm(directory, { recursive: true });
});

const nothing = async () => ({});

function driver(parts: Partial<CsiDriver> = {}): CsiDriver {
  return {
    name: 'a.example.com',
    version: '1',
    createVolume: async () => ({ volume: { volumeId: 'v' } }),
    deleteVolume: nothing,
    validateVolumeCapabilities: nothing,
    ...parts,
  };
}

const open = (parts: Partial<CsiDriver> = {}, more: { drainTimeout?: number } = {}) =>
  DriverServer.open(driver(parts), { endpoint: `unix://${path}`, logger, ...more });

const creation = CreateVolumeRequest.fromPartial({
  name: 'pvc-1',
  volumeCapabilities: [{ accessType: { $case: 'block', value: {} }, accessMode: { mode: 1 } }],
  secrets: { password: 'wallpaper-7' },
});
const create = () => client.controller.createVolume(creation);

test('secrets reach neither the log nor the error, even when the driver says them', async () => {
  await using _server = await open({
    createVolume: async ({ secrets }) => {
      throw new KeelsonError('UNAUTHENTICATED', `Wrong password "${secrets['password']}"`);
    },
  });
  await expect(create()).rejects.toThrow(/Wrong password "\*\*\*stripped\*\*\*"/);
  expect(lines.some((line) => line.includes('CreateVolume called'))).toBe(true);
  expect(lines.join()).not.toContain('wallpaper');
});

test('a call on a volume with another under way is ABORTED, and works when that has ended', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let begun = false;
  await using _server = await open({
    createVolume: async () => {
      begun = true;
      await promise;
      return { volume: { volumeId: 'v' } };
    },
  });
  const first = create();
  await waitFor('the first call', () => begun);
  await expect(create()).rejects.toMatchObject({ code: 'ABORTED' });
  resolve();
  await first;
  await create();
});

test('work goes on when its caller gives up', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let done = false;
  await using _server = await open({
    createVolume: async () => {
      await promise;
      done = true;
      return { volume: { volumeId: 'v' } };
    },
  });
  const call = client.controller.createVolume(creation, { timeout: 50 });
  await expect(call).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  resolve();
  await waitFor('the work', () => done);
});

test('errors keep their code; those that nobody expected are INTERNAL', async () => {
  let error: Error = new KeelsonError('OUT_OF_RANGE', 'Too large');
  await using _server = await open({ createVolume: () => Promise.reject(error) });
  await expect(create()).rejects.toMatchObject({ code: 'OUT_OF_RANGE' });
  error = new TypeError('x is not a function');
  await expect(create()).rejects.toMatchObject({ code: 'INTERNAL' });
  error = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  await expect(create()).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
});

test('a method that answers less than it must is the driver’s fault', async () => {
  await using _server = await open({ createVolume: nothing });
  await expect(create()).rejects.toThrow(/lacks volume/);
});

test('streams are sent, and their errors', async () => {
  const ranges = [0n, 4096n].map((byteOffset) => ({ byteOffset, sizeBytes: 512n }));
  await using _server = await open({
    async *getMetadataAllocated({ snapshotId }) {
      for (const range of ranges) yield { blockMetadataType: 2, blockMetadata: [range] };
      if (snapshotId === 'torn') throw new KeelsonError('OUT_OF_RANGE', 'Beyond the end');
    },
    async *getMetadataDelta() {},
  });
  const read = async (snapshotId: string) => {
    const seen: bigint[] = [];
    const request = { snapshotId, startingOffset: 0n, maxResults: 0, secrets: {} };
    for await (const { blockMetadata } of client.snapshotMetadata.getMetadataAllocated(request)) {
      seen.push(...blockMetadata.map(({ byteOffset }) => byteOffset));
    }
    return seen;
  };
  expect(await read('whole')).toEqual([0n, 4096n]);
  await expect(read('torn')).rejects.toMatchObject({ code: 'OUT_OF_RANGE' });
  await expect(read('')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});

test('the socket is for root alone; a stale one is replaced, one in use and a file are not', async () => {
  // What a killed driver leaves: a socket that nobody listens on.
  const stale = createServer().listen(path);
  await waitFor('the socket', () => existsSync(path));
  await expect(open()).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  await rm(path);
  await new Promise((resolve) => stale.close(resolve));
  await writeFile(path, 'precious');
  await expect(open()).rejects.toThrow(/no socket/);
  await rm(path);
  {
    await using _server = await open();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  }
  expect(existsSync(path)).toBe(false);
});

test('closing lets calls end, and aborts those that do not', async () => {
  let begun = false;
  const server = await open(
    {
      createVolume: (_, { signal }) =>
        new Promise((_resolve, reject) => {
          begun = true;
          signal.addEventListener('abort', () => reject(signal.reason));
        }),
    },
    { drainTimeout: 50 },
  );
  const call = expect(create()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await waitFor('the call', () => begun);
  await server[Symbol.asyncDispose]();
  await call;
});

test('what is not offered is UNIMPLEMENTED', async () => {
  await using _server = await DriverServer.open(driver(), { endpoint: path, logger: SILENT });
  const calls = [
    () => client.node.nodeGetInfo({}),
    () => client.controller.listVolumes({ maxEntries: 0, startingToken: '' }),
    () => client.groupController.groupControllerGetCapabilities({}),
  ];
  for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'UNIMPLEMENTED' });
  await client.controller.deleteVolume(DeleteVolumeRequest.fromPartial({ volumeId: 'v' }));
});
