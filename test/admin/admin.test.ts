import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { criSuite } from '../cri/suite.ts';
import { buildImage, buildLayer, pushImage } from '../fixtures/image.ts';

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

test('metrics count calls and name what they are of', async () => {
  await suite.daemon.runtime.version();
  const metrics = await text(await ask('/metrics'));
  expect(metrics).toMatch(
    /^keelson_operation_duration_seconds_count\{operation="cri.Version"\} [1-9]/m,
  );
  expect(metrics).toMatch(/^keelson_pods 0$/m);
  await expect(
    suite.daemon.runtime.podSandboxStatus({ podSandboxId: 'f'.repeat(64) }),
  ).rejects.toThrow();
  expect(await text(await ask('/metrics'))).toMatch(
    /^keelson_operation_failures_total\{operation="cri.PodSandboxStatus"\} 1$/m,
  );
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
