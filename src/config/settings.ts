import { z } from 'zod';
import type { SettingMeta } from './keys.ts';
import { schema } from './schema.ts';

/** One key of the configuration, as the schema declares it. */
export interface Setting extends SettingMeta {
  /** Such as `cni.conf_dir`; keys of runtimes read `runtimes.<name>.path`. */
  readonly key: string;
  readonly path: readonly string[];
  readonly kind: 'string' | 'integer' | 'boolean' | 'list';
  /** As TOML has it; undefined if there is none or it is derived. */
  readonly default: unknown;
  readonly description: string;
  readonly choices: readonly string[] | undefined;
  /** The environment variable; undefined for keys under a free name. */
  readonly variable: string | undefined;
}

type JsonSchema = Omit<SettingMeta, 'format'> & {
  format?: SettingMeta['format'];
  type?: string;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema | false;
  description?: string;
  default?: unknown;
  enum?: string[];
};

/** The part of a path that stands for a name that the administrator chooses. */
export const ANY_NAME = '<name>';

/** All keys, in the order of the schema. */
export function settings(): Setting[] {
  const root = z.toJSONSchema(schema, { io: 'input' }) as unknown as JsonSchema;
  return leaves(root, []);
}

function leaves(node: JsonSchema, path: readonly string[]): Setting[] {
  if (node.properties !== undefined) {
    return Object.entries(node.properties).flatMap(([key, child]) => leaves(child, [...path, key]));
  }
  if (typeof node.additionalProperties === 'object') {
    return leaves(node.additionalProperties, [...path, ANY_NAME]);
  }
  return [leaf(node, path)];
}

function leaf(node: JsonSchema, path: readonly string[]): Setting {
  const free = path.includes(ANY_NAME);
  return {
    key: path.join('.'),
    path,
    kind: kindOf(node),
    default: node.default,
    description: node.description ?? '',
    choices: node.enum,
    variable: free ? undefined : `KEELSON_${path.join('_').toUpperCase()}`,
    ...(node.format === undefined ? {} : { format: node.format }),
    ...(node.separator === undefined ? {} : { separator: node.separator }),
    ...(node.derived === undefined ? {} : { derived: node.derived }),
    ...(node.example === undefined ? {} : { example: node.example }),
  };
}

function kindOf(node: JsonSchema): Setting['kind'] {
  if (node.type === 'array') return 'list';
  if (node.type === 'integer' || node.type === 'boolean') return node.type;
  return 'string';
}
