import { expect, test } from 'vitest';
import { KeelsonError } from './errors.ts';
import { describeSpan, onSpan, onSpanStart, type SpanRecord, span, traceContext } from './spans.ts';

/** Runs `work` and answers the spans that ended meanwhile. */
async function spansOf(work: () => Promise<unknown>): Promise<SpanRecord[]> {
  const spans: SpanRecord[] = [];
  using _listener = onSpan((each) => spans.push(each));
  await work();
  return spans;
}

test('spans know the one they were started in, also side by side', async () => {
  const spans = await spansOf(() =>
    span('cri.RunPodSandbox', {}, () =>
      Promise.all([
        span('cni.ADD', {}, async () => {}),
        span('oci.create', {}, () => span('inner', {}, async () => {})),
      ]),
    ),
  );
  const byName = new Map(spans.map((each) => [each.name, each]));
  const parentOf = (name: string) => byName.get(name)?.parent;
  expect(parentOf('cni.ADD')).toBe(byName.get('cri.RunPodSandbox')?.id);
  expect(parentOf('oci.create')).toBe(byName.get('cri.RunPodSandbox')?.id);
  expect(parentOf('inner')).toBe(byName.get('oci.create')?.id);
  expect(parentOf('cri.RunPodSandbox')).toBeUndefined();
  const root = byName.get('cri.RunPodSandbox')?.id;
  expect(new Set(spans.map(({ trace }) => trace))).toEqual(new Set([root]));
});

test('a span is told of when it starts, too', async () => {
  const started: string[] = [];
  using _ = onSpanStart(({ name, attributes }) => started.push(`${name} ${attributes['image']}`));
  await span('pull', { image: 'x' }, async () => {
    expect(started).toEqual(['pull x']);
  });
});

test('what is done in a span may say more of it; long texts are cut', async () => {
  describeSpan({ nowhere: true });
  const [record] = await spansOf(() =>
    span('pull', {}, async () => describeSpan({ status: 200, text: 'x'.repeat(10_000) })),
  );
  expect(record?.attributes['status']).toBe(200);
  expect(record?.attributes['text']).toHaveLength(2048);
});

test('attributes may be added while the work runs', async () => {
  const [record] = await spansOf(() =>
    span('pull', { image: 'x' }, async (self) => self.set({ bytes: 7 })),
  );
  expect(record?.attributes).toEqual({ image: 'x', bytes: 7 });
});

test('a failure is recorded and passed on', async () => {
  const failing = () => span('x', {}, () => Promise.reject(new Error('no')));
  const [record] = await spansOf(() => expect(failing()).rejects.toThrow('no'));
  expect(record).toMatchObject({ error: 'no', code: 'UNKNOWN' });
  const refusing = () => span('x', {}, () => Promise.reject(new KeelsonError('NOT_FOUND', 'none')));
  const [refused] = await spansOf(() => expect(refusing()).rejects.toThrow('none'));
  expect(refused?.code).toBe('NOT_FOUND');
});

test('a listener hears nothing after it was disposed', async () => {
  const heard: string[] = [];
  onSpan((each) => heard.push(each.name))[Symbol.dispose]();
  await span('x', {}, async () => {});
  expect(heard).toEqual([]);
});

test('spans reach OpenTelemetry when it is set up, and programs learn of them', async () => {
  const { context, propagation, trace } = await import('@opentelemetry/api');
  expect(traceContext()).toEqual({});
  const ended: string[] = [];
  trace.setGlobalTracerProvider({
    getTracer: () => ({
      startSpan: () => trace.wrapSpanContext({ traceId: 't', spanId: 's', traceFlags: 1 }),
      startActiveSpan: (name: string, ...rest: unknown[]) => {
        const plain = trace.wrapSpanContext({ traceId: 't', spanId: 's', traceFlags: 1 });
        const end = () => void ended.push(name);
        return (rest.at(-1) as (span: object) => never)(
          Object.assign(Object.create(plain), { end }),
        );
      },
    }),
  });
  propagation.setGlobalPropagator({
    inject: (_, carrier) => void Object.assign(carrier as object, { traceparent: '00-t-s-01' }),
    extract: (active) => active,
    fields: () => ['traceparent'],
  });
  try {
    await span('cni.ADD', {}, async () => {
      expect(traceContext()).toEqual({ TRACEPARENT: '00-t-s-01' });
    });
    await expect(
      span('cni.DEL', {}, async () => {
        throw new Error('it failed');
      }),
    ).rejects.toThrow('it failed');
    expect(ended).toEqual(['cni.ADD', 'cni.DEL']);
  } finally {
    for (const part of [context, propagation, trace]) part.disable();
  }
});
