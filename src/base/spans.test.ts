import { expect, test } from 'vitest';
import { onSpan, type SpanRecord, span } from './spans.ts';

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
  expect(record?.error).toBe('no');
});

test('a listener hears nothing after it was disposed', async () => {
  const heard: string[] = [];
  onSpan((each) => heard.push(each.name))[Symbol.dispose]();
  await span('x', {}, async () => {});
  expect(heard).toEqual([]);
});
