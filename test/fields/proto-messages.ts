import { readFileSync } from 'node:fs';

/** One field of a message of api.proto. */
export interface ProtoField {
  /** As in the proto: `run_as_user`. */
  name: string;
  /** As in the generated code: `runAsUser`. */
  property: string;
  /** `string`, `int64`, …, or the name of a message or enum. */
  type: string;
  kind: 'single' | 'repeated' | 'map';
}

/** The messages of the proto file that the generated code comes from, with their fields. */
export function readProtoMessages(): Map<string, ProtoField[]> {
  const path = new URL('../../proto/runtime/v1/api.proto', import.meta.url).pathname;
  const text = readFileSync(path, 'utf8').replace(/\/\/.*$/gm, '');
  const messages = new Map<string, ProtoField[]>();
  for (const [, name = '', body = ''] of text.matchAll(/^message (\w+) \{(\}|\n.*?^\})/gms)) {
    const fields = body.replace(/enum \w+ \{[^}]*\}/g, '');
    messages.set(name, [...fields.matchAll(FIELD)].map(toField));
  }
  return messages;
}

const FIELD = /(repeated\s+)?(map<\s*string\s*,\s*\w+\s*>|\w+)\s+(\w+)\s*=\s*\d+\s*;/g;

function toField([, repeated, type = '', name = '']: RegExpExecArray): ProtoField {
  const map = /^map<\s*string\s*,\s*(\w+)\s*>$/.exec(type);
  return {
    name,
    property: name.replace(/_([a-zA-Z])/g, (_, letter: string) => letter.toUpperCase()),
    type: map?.[1] ?? type,
    kind: map !== null ? 'map' : repeated === undefined ? 'single' : 'repeated',
  };
}
