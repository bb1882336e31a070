import { AsyncLocalStorage } from 'node:async_hooks';
import { createRequire } from 'node:module';
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
let lastId = 0;

/** Where every copy of the OpenTelemetry API keeps what was set up with it. */
const OPEN_TELEMETRY = Symbol.for('opentelemetry.js.api.1');
const require = createRequire(import.meta.url);

/** The API if OpenTelemetry is set up. Loading it takes longer than a short program should. */
function openTelemetry(): typeof import('@opentelemetry/api') | undefined {
  return OPEN_TELEMETRY in globalThis ? require('@opentelemetry/api') : undefined;
}

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
  return exporting(name, gathered, async () => {
    let failure: string | undefined;
    try {
      return await current.run(self, () => work(self));
    } catch (error) {
      failure = messageOf(error);
      throw error;
    } finally {
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

/** Reports the work to OpenTelemetry, with the attributes that it has when it ends. */
function exporting<T>(name: string, attributes: Attributes, work: () => Promise<T>): Promise<T> {
  const api = openTelemetry();
  if (api === undefined) return work();
  return api.trace.getTracer('keelson').startActiveSpan(name, async (exported) => {
    try {
      return await work();
    } catch (error) {
      exported.setStatus({ code: api.SpanStatusCode.ERROR, message: messageOf(error) });
      throw error;
    } finally {
      exported.setAttributes(attributes);
      exported.end();
    }
  });
}

/**
 * The current span for a program, as environment variables (TRACEPARENT, TRACESTATE,
 * BAGGAGE). Empty where no OpenTelemetry is set up.
 */
export function traceContext(): Record<string, string> {
  const carrier: Record<string, string> = {};
  const api = openTelemetry();
  api?.propagation.inject(api.context.active(), carrier);
  return Object.fromEntries(
    Object.entries(carrier).map(([name, value]) => [name.toUpperCase(), value]),
  );
}
