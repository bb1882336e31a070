import type { Sampler, SpanProcessor } from '@opentelemetry/sdk-trace';
import type { Logger } from './log.ts';
import { withoutUserinfo } from './redact.ts';

type Environment = Readonly<Record<string, string | undefined>>;
type TraceSdk = typeof import('@opentelemetry/sdk-trace');

/** How long the last spans may take to be sent, in milliseconds: a collector may hang. */
const FLUSH_PATIENCE = 2_000;
/** One problem is told once in this time, in milliseconds. */
const SILENCE = 60_000;

const SAMPLERS = [
  ...['always_on', 'always_off', 'traceidratio'],
  ...['parentbased_always_on', 'parentbased_always_off', 'parentbased_traceidratio'],
];

/**
 * Sends spans to an OpenTelemetry collector by OTLP (HTTP, protobuf), as the usual variables
 * say (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables).
 * Without an endpoint in them nothing is loaded, and undefined is answered. What cannot be
 * sent is dropped and logged: a collector that is down or hangs holds nothing up.
 */
export async function exportSpans(
  environment: Environment,
  { version, logger }: { version: string; logger: Logger },
): Promise<AsyncDisposable | undefined> {
  if (!isWanted(environment, logger)) return undefined;
  const [api, sdk, core, resources, { AsyncLocalStorageContextManager }, { OTLPTraceExporter }] =
    await Promise.all([
      import('@opentelemetry/api'),
      import('@opentelemetry/sdk-trace'),
      import('@opentelemetry/core'),
      import('@opentelemetry/resources'),
      import('@opentelemetry/context-async-hooks'),
      import('@opentelemetry/exporter-trace-otlp-proto'),
    ]);
  const { diag, context, propagation, trace } = api;
  diag.setLogger(quietly(logger), api.DiagLogLevel.WARN);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(
    new core.CompositePropagator({
      propagators: [new core.W3CTraceContextPropagator(), new core.W3CBaggagePropagator()],
    }),
  );
  const own = { 'service.name': 'keelson', 'service.version': version };
  const given = resources.detectResources({ detectors: [resources.envDetector] });
  // The exporter reads its own variables: endpoint, headers, timeout, certificates, compression.
  const provider = new sdk.TracerProvider({
    resource: resources.defaultResource().merge(resources.resourceFromAttributes(own)).merge(given),
    sampler: samplerOf(environment, sdk, logger),
    spanProcessors: [processorOf(environment, sdk, new OTLPTraceExporter())],
  });
  trace.setGlobalTracerProvider(provider);
  logger.info({}, 'spans are sent to OpenTelemetry');
  return {
    async [Symbol.asyncDispose]() {
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, FLUSH_PATIENCE);
      await Promise.race([provider.shutdown().catch(() => {}), late]);
      clearTimeout(timer);
      for (const part of [trace, propagation, context, diag]) part.disable();
    },
  };
}

function isWanted(environment: Environment, logger: Logger): boolean {
  const { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT } = environment;
  const exporter = environment['OTEL_TRACES_EXPORTER'];
  if (environment['OTEL_SDK_DISABLED']?.toLowerCase() === 'true' || exporter === 'none') {
    return false;
  }
  if (!OTEL_EXPORTER_OTLP_ENDPOINT && !OTEL_EXPORTER_OTLP_TRACES_ENDPOINT && exporter !== 'otlp') {
    return false;
  }
  const refuse = (name: string, only: string) => {
    logger.error({ variable: name }, `no spans are sent: ${name} can only be "${only}"`);
    return false;
  };
  if (exporter && exporter !== 'otlp') return refuse('OTEL_TRACES_EXPORTER', 'otlp');
  const protocol =
    environment['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'] || environment['OTEL_EXPORTER_OTLP_PROTOCOL'];
  if (protocol && protocol !== 'http/protobuf') {
    return refuse('OTEL_EXPORTER_OTLP_PROTOCOL', 'http/protobuf');
  }
  return true;
}

function samplerOf(environment: Environment, sdk: TraceSdk, logger: Logger): Sampler {
  const wanted = environment['OTEL_TRACES_SAMPLER'] || 'parentbased_always_on';
  if (!SAMPLERS.includes(wanted)) {
    const hint = `there are ${SAMPLERS.join(', ')}`;
    logger.error({ wanted }, `OTEL_TRACES_SAMPLER "${wanted}" is not known: all is sent; ${hint}`);
  }
  const name = wanted.replace(/^parentbased_/, '');
  const root =
    name === 'always_off'
      ? new sdk.AlwaysOffSampler()
      : name === 'traceidratio'
        ? new sdk.TraceIdRatioBasedSampler(ratio(environment, logger))
        : new sdk.AlwaysOnSampler();
  return wanted.startsWith('parentbased_') ? new sdk.ParentBasedSampler({ root }) : root;
}

function ratio(environment: Environment, logger: Logger): number {
  const text = environment['OTEL_TRACES_SAMPLER_ARG'] || '1';
  const share = Number(text);
  if (share >= 0 && share <= 1) return share;
  logger.error({}, `OTEL_TRACES_SAMPLER_ARG "${text}" is no share between 0 and 1: all is sent`);
  return 1;
}

function processorOf(
  environment: Environment,
  sdk: TraceSdk,
  exporter: InstanceType<
    typeof import('@opentelemetry/exporter-trace-otlp-proto').OTLPTraceExporter
  >,
): SpanProcessor {
  const given = (name: string, fallback: number) => {
    const number = Number(environment[`OTEL_BSP_${name}`] || fallback);
    return Number.isSafeInteger(number) && number > 0 ? number : fallback;
  };
  const maxQueueSize = given('MAX_QUEUE_SIZE', 2048);
  return new sdk.BatchSpanProcessor({
    exporter,
    maxQueueSize,
    maxExportBatchSize: Math.min(given('MAX_EXPORT_BATCH_SIZE', 512), maxQueueSize),
    scheduledDelayMillis: given('SCHEDULE_DELAY', 5000),
    exportTimeoutMillis: given('EXPORT_TIMEOUT', 30_000),
  });
}

/** What OpenTelemetry has to say of its own problems: the same again is not told for a while. */
function quietly(logger: Logger) {
  const told = new Map<string, number>();
  const say = (...words: unknown[]) => {
    const text = withoutUserinfo(words.map(String).join(' ')).slice(0, 500);
    const now = performance.now();
    if (now - (told.get(text) ?? Number.NEGATIVE_INFINITY) < SILENCE) return;
    if (told.size >= 100) told.clear();
    told.set(text, now);
    logger.warn({}, `OpenTelemetry: ${text}`);
  };
  const nothing = () => {};
  return { error: say, warn: say, info: nothing, debug: nothing, verbose: nothing };
}
