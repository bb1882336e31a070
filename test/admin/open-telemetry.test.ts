import { afterAll, beforeAll, expect, test } from 'vitest';
import { OtlpCollector } from '../fixtures/otlp-collector.ts';
import { type Daemon, podConfig, startDaemon, waitFor } from '../harness/index.ts';

let daemon: Daemon;

beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(() => daemon?.[Symbol.asyncDispose]());

/** Soon, so that tests need not wait. */
const SOON = { OTEL_BSP_SCHEDULE_DELAY: '50' };

async function restart(env: Record<string, string>): Promise<void> {
  await daemon.restart({ env: { ...SOON, ...env } });
}

const config = () =>
  podConfig({ linux: { securityContext: { namespaceOptions: { network: 2 } } } });

test('the spans of a call reach the collector as children of the span that the caller tells', async () => {
  await using collector = await OtlpCollector.start();
  await restart({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20very-secret',
    OTEL_SERVICE_NAME: 'node-7',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment=test,service.name=overridden',
  });
  const [traceId, spanId] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
  const metadata = { traceparent: `00-${traceId}-${spanId}-01` };
  await daemon.runtime.runPodSandbox({ config: config() }, { metadata });
  await expect(
    daemon.runtime.podSandboxStatus({ podSandboxId: 'f'.repeat(64) }, { metadata }),
  ).rejects.toThrow();
  const { spans } = collector;
  const find = (name: string) =>
    spans.find((span) => span.traceId === traceId && span.name === name);
  const failed = await waitFor('the spans', async () => find('cri.PodSandboxStatus'));
  const root = find('cri.RunPodSandbox');
  expect(root).toMatchObject({
    parentSpanId: spanId,
    attributes: { pod: expect.stringMatching(/^default\/pod-/), podId: expect.any(String) },
    resource: { 'service.name': 'node-7', 'deployment.environment': 'test' },
    error: undefined,
  });
  expect(find('create namespaces')?.parentSpanId).toBe(root?.spanId);
  expect(find('namespace.create')?.parentSpanId).toBe(find('create namespaces')?.spanId);
  expect(failed).toMatchObject({
    parentSpanId: spanId,
    error: expect.stringContaining('There is no'),
  });
  expect(collector.requests[0]).toMatchObject({
    path: '/v1/traces',
    headers: { authorization: 'Bearer very-secret', 'content-type': 'application/x-protobuf' },
  });
  expect(daemon.log).not.toContain('very-secret');
});

test('a caller that does not sample is not sampled; one without a parent is by the ratio', async () => {
  await using collector = await OtlpCollector.start();
  await restart({
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/own/path`,
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0',
    OTEL_BSP_SCHEDULE_DELAY: '60000',
  });
  const calls = ['00', '01', undefined].map(async (flags) => {
    const traceparent = `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-${flags}`;
    return daemon.runtime.version({}, flags === undefined ? {} : { metadata: { traceparent } });
  });
  await Promise.all(calls);
  expect(collector.requests).toEqual([]);
  // The last spans are sent when the daemon ends.
  await daemon.stop();
  expect(collector.spans.map(({ name }) => name)).toEqual(['cri.Version']);
  expect(collector.requests[0]?.path).toBe('/own/path');
});

test.each([
  ['hangs', undefined],
  ['is not there', 'closed'],
])('a collector that %s holds nothing up', async (_how, answer) => {
  await using collector = await OtlpCollector.start(() => {});
  const { url } = collector;
  if (answer === 'closed') await collector[Symbol.asyncDispose]().catch(() => {});
  await restart({ OTEL_EXPORTER_OTLP_ENDPOINT: url });
  const start = performance.now();
  for (let n = 0; n < 30; n++) await daemon.runtime.version();
  if (answer !== 'closed') await waitFor('a request', async () => collector.requests.length > 0);
  const { podSandboxId } = await daemon.runtime.runPodSandbox({ config: config() });
  await daemon.runtime.removePodSandbox({ podSandboxId });
  expect(performance.now() - start).toBeLessThan(10_000);
  expect(await daemon.stop()).toBe(0);
});

test('without an endpoint, or switched off, nothing is sent; what cannot be honoured is said', async () => {
  await using collector = await OtlpCollector.start();
  const said = () => daemon.log.match(/spans are sent to OpenTelemetry/g)?.length ?? 0;
  const before = said();
  for (const env of [
    {},
    { OTEL_SDK_DISABLED: 'true', OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
    { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
  ]) {
    await restart(env);
    await daemon.runtime.version();
    await daemon.stop();
  }
  expect(said()).toBe(before);
  expect(collector.requests).toEqual([]);
  expect(daemon.log).toContain('OTEL_EXPORTER_OTLP_PROTOCOL can only be \\"http/protobuf\\"');
});
