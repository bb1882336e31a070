import { readFile } from 'node:fs/promises';
import { KeelsonError } from '../base/index.ts';
import { ContainerConfig, type MessageFns, PodSandboxConfig } from '../gen/runtime/v1/api.ts';

type Table = Record<string, unknown>;

/** A pod as `runp` and `create` take it, JSON or YAML. A missing uid is made up. */
export async function readPodConfig(path: string): Promise<PodSandboxConfig> {
  const config = parseConfig(path, await readTable(path), PodSandboxConfig);
  const { metadata } = config;
  if (metadata === undefined || metadata.name === '' || metadata.namespace === '') {
    throw refusal(path, 'metadata needs a name and a namespace');
  }
  return { ...config, metadata: { ...metadata, uid: metadata.uid || crypto.randomUUID() } };
}

/** A container as `create` takes it, JSON or YAML. */
export async function readContainerConfig(path: string): Promise<ContainerConfig> {
  const table = await readTable(path);
  const config = parseConfig(path, withEncodedValues(path, table), ContainerConfig);
  if (!config.metadata?.name) throw refusal(path, 'metadata needs a name');
  if (!config.image?.image) throw refusal(path, 'image.image is missing');
  return config;
}

async function readTable(path: string): Promise<Table> {
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot read "${path}"`, { cause });
  });
  const { parse } = await import('yaml');
  let value: unknown;
  try {
    value = text.trimStart().startsWith('{') ? JSON.parse(text) : parse(text);
  } catch (cause) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot read "${path}"`, { cause });
  }
  if (isTable(value)) return value;
  throw refusal(path, 'it holds no JSON or YAML object');
}

/** The protocol has bytes for the values of variables; people write text. */
function withEncodedValues(path: string, table: Table): Table {
  const { envs } = table;
  if (!Array.isArray(envs)) return table;
  const encoded = envs.map((env: unknown, index) => {
    if (!isTable(env)) return env;
    const value = env['value'] ?? '';
    if (typeof value !== 'string') throw refusal(path, `envs[${index}].value must be text`);
    return { ...env, value: Buffer.from(value).toString('base64') };
  });
  return { ...table, envs: encoded };
}

/**
 * Reads a message by the rules of protobuf's JSON, names in camel case or as the protocol
 * writes them. Generated code drops what it does not know and converts what does not fit:
 * here both are refused.
 */
function parseConfig<Message>(path: string, table: Table, type: MessageFns<Message>): Message {
  let message: Message;
  try {
    message = type.fromJSON(table);
  } catch (cause) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot use "${path}"`, { cause });
  }
  const problem = difference(table, message, type.toJSON(message), '');
  if (problem !== undefined) throw refusal(path, problem);
  return message;
}

/** What of the input is not in the message, as `key: why`. */
function difference(
  input: unknown,
  message: unknown,
  json: unknown,
  at: string,
): string | undefined {
  if (input === null || input === undefined) return undefined;
  if (Array.isArray(message)) return listDifference(input, message, json, at);
  if (isTable(message)) return tableDifference(input, message, json, at);
  if (message === undefined) return `${at}: is unknown here`;
  return scalarFits(input, message, json) ? undefined : `${at}: ${expected(message, json)}`;
}

function listDifference(
  input: unknown,
  message: readonly unknown[],
  json: unknown,
  at: string,
): string | undefined {
  if (!Array.isArray(input)) return `${at}: must be a list`;
  if (input.length !== message.length) return `${at}: is unknown, or spelled otherwise`;
  const names = (json ?? []) as unknown[];
  return first(input, (item, index) =>
    difference(item, message[index], names[index], `${at}[${index}]`),
  );
}

function tableDifference(
  input: unknown,
  message: Table,
  json: unknown,
  at: string,
): string | undefined {
  if (!isTable(input)) return `${at}: must be an object`;
  const names = (json ?? {}) as Table;
  return first(Object.entries(input), ([key, value]) => {
    const place = at === '' ? key : `${at}.${key}`;
    const name = Object.hasOwn(message, key) ? key : camelCase(key);
    if (!Object.hasOwn(message, name)) return `${place}: there is no such field`;
    return difference(value, message[name], names[name], place);
  });
}

function scalarFits(input: unknown, message: unknown, json: unknown): boolean {
  if (typeof message === 'string' || message instanceof Uint8Array) {
    return typeof input === 'string';
  }
  if (typeof message === 'boolean') return typeof input === 'boolean';
  const isEnum = typeof message === 'number' && typeof json === 'string';
  if (typeof input === 'string') {
    return isEnum || (typeof message === 'bigint' && /^-?\d+$/.test(input));
  }
  if (typeof input !== 'number' || !Number.isInteger(input)) return false;
  // Other numbers of the protocol have 32 bits, with sign or without.
  const fits = typeof message === 'bigint' || (input >= -(2 ** 31) && input < 2 ** 32);
  return isEnum || (fits && BigInt(input) === BigInt(message as number | bigint));
}

function expected(message: unknown, json: unknown): string {
  if (typeof message === 'string' || message instanceof Uint8Array) return 'must be text';
  if (typeof message === 'boolean') return 'must be true or false';
  return typeof json === 'string' && typeof message === 'number'
    ? 'must be the name or number of a choice'
    : 'must be a whole number that fits';
}

function first<T>(
  items: readonly T[],
  find: (item: T, index: number) => string | undefined,
): string | undefined {
  for (const [index, item] of items.entries()) {
    const found = find(item, index);
    if (found !== undefined) return found;
  }
  return undefined;
}

function camelCase(key: string): string {
  return key.replace(/_([a-zA-Z])/g, (_, letter: string) => letter.toUpperCase());
}

function isTable(value: unknown): value is Table {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Uint8Array)
  );
}

function refusal(path: string, reason: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', `Cannot use "${path}"`, { reason });
}
