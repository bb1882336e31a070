import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { parseDuration, parseSize } from '../base/index.ts';

/** What a setting's description carries besides its text; `toJSONSchema` hands it on. */
export interface SettingMeta {
  /** How the parsed number is written. */
  format?: 'duration' | 'size';
  /** What separates the items of a list in an environment variable. */
  separator?: string;
  /** What the default is when it is not a fixed value. */
  derived?: string;
  /** A value for a key that has no default of its own. */
  example?: string;
}

export const path = () =>
  z.string().refine((value) => isAbsolute(value), { error: 'must be an absolute path' });

/** A program: an absolute path, or a name to look up in PATH. */
export const program = () =>
  z.string().regex(/^(\/.*[^/]|[^/\s]+)$/, 'must be an absolute path or the name of a program');

export const uri = () =>
  z
    .string()
    .regex(
      /^(unix:\/\/\/.+|tcp:\/\/([^[\]:/]+|\[[0-9A-Fa-f:.]+\]):\d{1,5})$/,
      'must be unix:///PATH or tcp://ADDRESS:PORT',
    );

function quantity(
  parse: (text: string) => number | undefined,
  expected: string,
  inputs: z.ZodType<string | number> = z.string(),
) {
  return inputs.transform((value, context) => {
    const parsed = parse(String(value));
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: `must be ${expected}` });
    return z.NEVER;
  });
}

export const duration = () => quantity(parseDuration, 'a duration such as "30s" or "1m30s"');
export const size = () =>
  quantity(
    parseSize,
    'a size in bytes, or with a unit such as "64MiB"',
    z.union([z.string(), z.int()], { error: 'must be a size in bytes, or such as "64MiB"' }),
  );

/** A key with what a reader needs to know about it. */
export function described<T extends z.ZodType>(
  type: T,
  description: string,
  meta: SettingMeta = {},
): T {
  return type.meta({ description, ...meta });
}
