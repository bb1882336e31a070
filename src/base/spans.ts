import { AsyncLocalStorage } from 'node:async_hooks';
import { createRequire } from 'node:module';
import { codeOf, type ErrorCode, messageOf } from './errors.ts';
import { shortened } from './redact.ts';

export type Attributes = Record<string, string | number | boolean>;

/** A piece of work that has begun: a CRI call, or something that it led to. */
export interface OpenSpan {
  readonly id: number;
  /** The id of the span at the root: what one call led to has the same. */
  readonly trace: number;
  readonly parent: number | undefined;
  /** What was done, such as `cri.RunPodSandbox`, `cni.ADD` or `oci.create`. */
  readonly name: string;
  readonly attributes: Attributes;
  /** Unix time in milliseconds. */
  readonly startedAt: number;
}

/** One that has ended. */
export interface SpanRecord extends OpenSpan {
  readonly milliseconds: number;
  readonly error: string | undefined;
  readonly code: ErrorCode | undefined;
}

export interface Span {
  readonly id: number;
  set(attributes: Attributes): void;
}

export interface SpanOptions {
  /** W3C trace context of the caller, such as `traceparent`, by name. */
  remote?: Readonly<Record<string, string>>;
}

/** Characters of an attribute, and of an error, that are kept. */
const LONGEST_TEXT = 2048;

interface Running extends Span {
  readonly trace: number;
}

const current = new AsyncLocalStorage<Running>();
const starting = new Set<(span: OpenSpan) => void>();
const ending = new Set<(span: SpanRecord) => void>();
let lastId = 0;

/** Where every copy of the OpenTelemetry API keeps what was set up with it. */
const OPEN_TELEMETRY = Symbol.for('opentelemetry.js.api.1');
const require = createRequire(import.meta.url);

/** The API if OpenTelemetry is set up. Loading it takes longer than a short program should. */
function openTelemetry(): typeof import('@opentelemetry/api') | undefined {
  return OPEN_TELEMETRY in globalThis ? require('@opentelemetry/api') : undefined;
}

/** Calls `listener` with each span as it ends, until the answer is disposed. */
export function onSpan(listener: (span: SpanRecord) => void): Disposable {
  return listen(ending, listener);
}

/** The same with each span as it starts. */
export function onSpanStart(listener: (span: OpenSpan) => void): Disposable {
  return listen(starting, listener);
}

function listen<T>(listeners: Set<T>, listener: T): Disposable {
  listeners.add(listener);
  return { [Symbol.dispose]: () => listeners.delete(listener) };
}

/**
 * Runs `work` as a span: timed, a child of the span it was started in, and reported to
 * OpenTelemetry and to the listeners. Attributes must not hold secrets; long ones are cut.
 */
export function span<T>(
  name: string,
  attributes: Attributes,
  work: (span: Span) => Promise<T>,
  options: SpanOptions = {},
): Promise<T> {
  const above = current.getStore();
  const id = ++lastId;
  const gathered: Attributes = {};
  const self: Running = {
    id,
    trace: above?.trace ?? id,
    set: (more) => {
      for (const [key, value] of Object.entries(more)) gathered[key] = cut(value);
    },
  };
  self.set(attributes);
  const open: OpenSpan = {
    ...{ id, trace: self.trace, parent: above?.id, name },
    ...{ attributes: gathered, startedAt: Date.now() },
  };
  const start = performance.now();
  for (const listener of starting) listener(open);
  return exporting(open, options, async () => {
    let failure: { error: unknown } | undefined;
    try {
      return await current.run(self, () => work(self));
    } catch (error) {
      failure = { error };
      throw error;
    } finally {
      const record: SpanRecord = {
        ...open,
        milliseconds: performance.now() - start,
        error: failure && cut(messageOf(failure.error)),
        code: failure && codeOf(failure.error),
      };
      for (const listener of ending) listener(record);
    }
  });
}

/** Says more of the span that this is done in; nothing outside of all spans. */
export function describeSpan(attributes: Attributes): void {
  current.getStore()?.set(attributes);
}

function cut<T>(value: T): T | string {
  return typeof value === 'string' ? shortened(value, LONGEST_TEXT) : value;
}

/** Reports the work to OpenTelemetry, with the attributes that it has when it ends. */
function exporting<T>(
  { name, attributes, parent }: OpenSpan,
  { remote }: SpanOptions,
  work: () => Promise<T>,
): Promise<T> {
  const api = openTelemetry();
  if (api === undefined) return work();
  const { SERVER, INTERNAL } = api.SpanKind;
  const active = api.context.active();
  const context = remote === undefined ? active : api.propagation.extract(active, remote);
  const options = { kind: parent === undefined ? SERVER : INTERNAL };
  return api.trace
    .getTracer('keelson')
    .startActiveSpan(name, options, context, async (exported) => {
      try {
        return await work();
      } catch (error) {
        exported.setStatus({ code: api.SpanStatusCode.ERROR, message: cut(messageOf(error)) });
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
