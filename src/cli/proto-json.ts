import type { MessageFns } from '../gen/runtime/v1/api.ts';

type Json = Record<string, unknown>;

/**
 * A message as JSON by the rules of protobuf (https://protobuf.dev/programming-guides/json):
 * names in camel case, enum values by name, 64-bit integers as strings, bytes in base64.
 * Like crictl it also shows fields that have their default, but no unset messages.
 */
export function protoJson<Message>(type: MessageFns<Message>, message: Message): Json {
  return complete(message, type.toJSON(message)) as Json;
}

/** Generated code leaves out empty lists and maps: they are put back where the message has them. */
function complete(message: unknown, json: unknown): unknown {
  if (Array.isArray(message)) {
    return message.map((item, index) => complete(item, (json as unknown[] | undefined)?.[index]));
  }
  if (!isTable(message)) return json;
  const names = (json ?? {}) as Json;
  return Object.fromEntries(
    Object.entries(message)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, complete(value, names[key])]),
  );
}

function isTable(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !(value instanceof Uint8Array);
}

/** As crictl shows features: names in snake case, without fields that have their default. */
export function featureJson(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(featureJson);
  if (!isTable(json)) return json;
  return Object.fromEntries(
    Object.entries(json)
      .filter(([, value]) => value !== false && value !== '' && value !== 0)
      .map(([key, value]) => [snakeCase(key), featureJson(value)]),
  );
}

function snakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
