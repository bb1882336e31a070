import { isDeepStrictEqual } from 'node:util';
import { KeelsonError } from '../../src/base/index.ts';
import { type ProtoField, readProtoMessages } from './proto-messages.ts';

/**
 * What the code makes of a field: it changes what comes out, it is refused by name, or
 * nobody looks at it.
 */
export type Outcome = 'kept' | 'refused' | 'ignored';

export interface Visit {
  /** `Mount.recursive_read_only` */
  field: string;
  /** Where it was set: `mounts.recursiveReadOnly`. */
  path: string;
  outcome: Outcome;
}

type Message = Record<string, unknown>;

export interface WalkOptions {
  /** The message that `convert` takes. */
  root: string;
  /** Makes plain values of a message; fails with INVALID_ARGUMENT for one that is refused. */
  convert(message: never): unknown;
  /** What a message must hold to be taken, by its name. */
  minimal: Record<string, Message>;
  /** What the message around a field must hold for it to be taken, by field. */
  beside: Record<string, Message>;
  /** Values to try in place of those of the type, by field: `Mount.host_path`. */
  values: Record<string, readonly unknown[]>;
}

const messages = readProtoMessages();

/** By type, values other than what is left out. An enum takes numbers. */
const SAMPLES: Record<string, readonly unknown[]> = {
  string: ['sample', '/sample'],
  bytes: [Buffer.from('sample')],
  bool: [true],
  ...Object.fromEntries(['int64', 'uint64'].map((type) => [type, [7n]])),
  ...Object.fromEntries(['int32', 'uint32'].map((type) => [type, [7]])),
};
const ENUM = [1, 2];

/**
 * Sets each field of a message and of all messages in it, one at a time, and looks whether
 * what `convert` answers is another than without it.
 */
export function walk(options: WalkOptions): Visit[] {
  return fieldsBelow(options.root, []).map(({ owner, field, parents }) => {
    const name = `${owner}.${field.name}`;
    const path = [...parents, field].map(({ property }) => property).join('.');
    const place = { owner, field, parents };
    const without = attempt(options, build(options, place));
    if (without instanceof KeelsonError && parents.length > 0) {
      return { field: name, path, outcome: 'refused' };
    }
    if (without instanceof Error) throw new Error(`cannot convert for ${path}`, { cause: without });
    const values = options.values[name] ?? SAMPLES[field.type] ?? ENUM;
    const outcomes = values.map((value) => {
      const given = attempt(options, build(options, place, value));
      if (given instanceof KeelsonError) return 'refused';
      return isDeepStrictEqual(given, without) ? 'ignored' : 'kept';
    });
    return { field: name, path, outcome: strongest(outcomes) };
  });
}

/** One kept value is enough; but a value that nobody looks at weighs more than a refused one. */
function strongest(outcomes: readonly Outcome[]): Outcome {
  if (outcomes.includes('kept')) return 'kept';
  return outcomes.includes('ignored') ? 'ignored' : 'refused';
}

interface Place {
  owner: string;
  field: ProtoField;
  parents: ProtoField[];
}

/** The fields that hold values, depth first. */
function fieldsBelow(message: string, parents: ProtoField[]): Place[] {
  return (messages.get(message) ?? []).flatMap((field) =>
    messages.has(field.type)
      ? fieldsBelow(field.type, [...parents, field])
      : [{ owner: message, field, parents }],
  );
}

/** The root message with all the parents of a field in it, and the value, if there is one. */
function build({ root, minimal, beside }: WalkOptions, place: Place, value?: unknown): Message {
  const message = structuredClone(minimal[root] ?? {});
  let inner = message;
  let owner = root;
  for (const { name, property, type, kind } of place.parents) {
    Object.assign(inner, structuredClone(beside[`${owner}.${name}`] ?? {}));
    const child = structuredClone({ ...minimal[type], ...existing(inner[property]) });
    inner[property] = kind === 'repeated' ? [child] : child;
    inner = child;
    owner = type;
  }
  const { field } = place;
  Object.assign(inner, structuredClone(beside[`${owner}.${field.name}`] ?? {}));
  if (value === undefined) return message;
  inner[field.property] =
    field.kind === 'map' ? { sample: value } : field.kind === 'repeated' ? [value] : value;
  return message;
}

function existing(value: unknown): Message {
  const first: unknown = Array.isArray(value) ? value[0] : value;
  return (first ?? {}) as Message;
}

function attempt({ convert }: WalkOptions, message: Message): unknown {
  try {
    return convert(message as never);
  } catch (error) {
    if (error instanceof KeelsonError && error.code === 'INVALID_ARGUMENT') return error;
    throw error;
  }
}
