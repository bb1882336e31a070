import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { criSuite } from '../cri/suite.ts';
import { buildImage, buildLayer, pushImage } from '../fixtures/image.ts';
import { containerConfig, runContainer, runPod, waitFor } from '../harness/index.ts';

const suite = criSuite();

async function ask(path: string): Promise<IncomingMessage> {
  const socketPath = join(suite.daemon.paths.state, 'admin.sock');
  const [response] = await once(get({ socketPath, path }), 'response');
  return response as IncomingMessage;
}

async function lines(path: string): Promise<Record<string, unknown>[]> {
  const body = await text(await ask(path));
  return body
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

const metric = async (line: RegExp) => Number(line.exec(await text(await ask('/metrics')))?.[1]);

test('metrics tell how long calls and their steps take, and which failed how', async () => {
  const { runtime } = suite.daemon;
  await runtime.version();
  const pod = await runPod(suite.daemon);
  await runContainer(suite.daemon, pod, containerConfig(suite.image));
  await expect(runtime.podSandboxStatus({ podSandboxId: 'f'.repeat(64) })).rejects.toThrow();
  const metrics = await text(await ask('/metrics'));
  for (const operation of [
    ...['cri.Version', 'cri.RunPodSandbox', 'attach network', 'cni.ADD', 'oci.create'],
    ...['oci.start', 'image.pull', 'image.download', 'image.unpack', 'registry.GET'],
  ]) {
    expect(metrics).toMatch(
      new RegExp(
        `^keelson_operation_duration_seconds_count\\{operation="${operation}"\\} [1-9]`,
        'm',
      ),
    );
    expect(metrics).toMatch(
      new RegExp(
        `^keelson_operation_duration_seconds_bucket\\{le="0.1",operation="${operation}"`,
        'm',
      ),
    );
  }
  expect(metrics).toMatch(
    /^keelson_operation_failures_total\{operation="cri.PodSandboxStatus",code="NOT_FOUND"\} 1$/m,
  );
});

test('metrics tell how much there is', async () => {
  const before = await metric(/^keelson_container_exits_total\{reason="Error"\} (\d+)$/m);
  expect(await metric(/^keelson_pods\{state="ready"\} (\d+)$/m)).toBe(1);
  expect(await metric(/^keelson_pods\{state="stopped"\} (\d+)$/m)).toBe(0);
  expect(await metric(/^keelson_containers\{state="running"\} (\d+)$/m)).toBe(1);
  expect(await metric(/^keelson_images (\d+)$/m)).toBe(1);
  expect(await metric(/^keelson_image_bytes (\d+)$/m)).toBeGreaterThan(1_000_000);
  const available = await metric(/^keelson_disk_bytes\{kind="available"\} (\d+)$/m);
  expect(await metric(/^keelson_disk_bytes\{kind="size"\} ([\de+.]+)$/m)).toBeGreaterThan(
    available,
  );
  expect(await metric(/^nodejs_eventloop_lag_p99_seconds ([\de.+-]+)$/m)).toBeGreaterThan(0);
  await suite.daemon.removePods();
  expect(await metric(/^keelson_containers\{state="running"\} (\d+)$/m)).toBe(0);
  expect(before).toBeNaN();
  expect(await metric(/^keelson_container_exits_total\{reason="Error"\} (\d+)$/m)).toBe(1);
});

test('metrics tell how many streams are open', async () => {
  const open = () =>
    metric(/^keelson_operations_in_progress\{operation="cri.GetContainerEvents"\} (\d+)$/m);
  const streams = [1, 2].map(() => suite.daemon.runtime.getContainerEvents());
  for (const stream of streams) stream.on('error', () => {});
  await waitFor('two streams', async () => (await open()) === 2);
  for (const stream of streams) stream.cancel();
  await waitFor('no stream', async () => (await open()) === 0);
});

test('spans tell what a call led to', async () => {
  const podSandboxId = 'e'.repeat(64);
  await suite.daemon.runtime.removePodSandbox({ podSandboxId });
  const spans = await lines('/spans');
  expect(spans.map(({ name }) => name)).toContain('cri.RemovePodSandbox');
});

test('followed spans come as they end', async () => {
  const response = await ask('/spans?follow');
  await suite.daemon.images.imageFsInfo();
  for await (const line of createInterface({ input: response })) {
    if (JSON.parse(line).name === 'cri.ImageFsInfo') break;
  }
  response.destroy();
});

test('pulls tell how far each layer is', async () => {
  const content = randomBytes(48 << 20);
  const layers = [buildLayer([{ path: 'big', content }])];
  const image = `${suite.registry.host}/big:1`;
  await pushImage({ url: suite.registry.url, repository: 'big' }, '1', buildImage({ layers }));
  const response = await ask('/pulls');
  const pull = suite.daemon.images.pullImage({ image: { image } });
  const seen: string[] = [];
  for await (const line of createInterface({ input: response })) {
    const [first] = JSON.parse(line) as { reference: string; layers: { size: number }[] }[];
    if (first !== undefined) seen.push(first.reference);
    if (first === undefined && seen.length > 0) break;
    if (first?.layers[0] !== undefined) expect(first.layers[0].size).toBeGreaterThan(0);
  }
  await pull;
  response.destroy();
  expect(new Set(seen)).toEqual(new Set([image]));
});

test('another path is 404 and names those that there are', async () => {
  const response = await ask('/nothing');
  expect(response.statusCode).toBe(404);
  expect(await text(response)).toContain('/metrics');
});
