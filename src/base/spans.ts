import { AsyncLocalStorage } from 'node:async_hooks';
import { context, trace as otel, propagation, SpanStatusCode } from '@opentelemetry/api';
import { messageOf } from './errors.ts';

export type Attributes = Record<string, string | number | boolean>;

/** A finished piece of work: a CRI call, or something that it led to. */
export interface SpanRecord {
  readonly id: number;
  readonly parent: number | undefined;
  /** What was done, such as `cri.RunPodSandbox`, `cni.ADD` or `oci.create`. */
  readonly name: string;
  readonly attributes: Attributes;
  /** Unix time in milliseconds. */
  readonly startedAt: number;
  readonly milliseconds: number;
  readonly error: string | undefined;
}

export interface Span {
  readonly id: number;
  set(attributes: Attributes): void;
}

type Listener = (span: SpanRecord) => void;

const current = new AsyncLocalStorage<Span>();
const listeners = new Set<Listener>();
const tracer = otel.getTracer('keelson');
let lastId = 0;

/** Calls `listener` with each span as it ends, until the answer is disposed. */
export function onSpan(listener: Listener): Disposable {
  listeners.add(listener);
  return { [Symbol.dispose]: () => listeners.delete(listener) };
}

/**
 * Runs `work` as a span: timed, a child of the span it was started in, and reported to
 * OpenTelemetry and to the listeners. Attributes must not hold secrets.
 */
export function span<T>(
  name: string,
  attributes: Attributes,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  const parent = current.getStore()?.id;
  const gathered: Attributes = { ...attributes };
  const self: Span = { id: ++lastId, set: (more) => void Object.assign(gathered, more) };
  const startedAt = Date.now();
  const start = performance.now();
  return tracer.startActiveSpan(name, async (exported) => {
    let failure: string | undefined;
    try {
      return await current.run(self, () => work(self));
    } catch (error) {
      failure = messageOf(error);
      exported.setStatus({ code: SpanStatusCode.ERROR, message: failure });
      throw error;
    } finally {
      exported.setAttributes(gathered);
      exported.end();
      const record: SpanRecord = {
        id: self.id,
        parent,
        name,
        attributes: gathered,
        startedAt,
        milliseconds: performance.now() - start,
        error: failure,
      };
      for (const listener of listeners) listener(record);
    }
  });
}

/**
 * The current span for a program, as environment variables (TRACEPARENT, TRACESTATE,
 * BAGGAGE). Empty where no OpenTelemetry is set up.
 */
export function traceContext(): Record<string, string> {
  const carrier: Record<string, string> = {};
  propagation.inject(context.active(), carrier);
  return Object.fromEntries(
    Object.entries(carrier).map(([name, value]) => [name.toUpperCase(), value]),
  );
}
