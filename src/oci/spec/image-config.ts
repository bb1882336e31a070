import { z } from 'zod';
import { isDigest } from './digest.ts';
import { check, parseJson } from './image-manifest.ts';

const nullable = <T extends z.ZodType>(type: T) =>
  type.nullish().transform((value) => value ?? undefined);
const strings = () => nullable(z.array(z.string()));

/** Docker's health check; times are nanoseconds. Kept for those who inspect images. */
const healthcheckSchema = z.object({
  Test: strings(),
  Interval: nullable(z.number()),
  Timeout: nullable(z.number()),
  StartPeriod: nullable(z.number()),
  Retries: nullable(z.number()),
});

const executionSchema = z.object({
  User: nullable(z.string()),
  ExposedPorts: nullable(z.record(z.string(), z.unknown())),
  Env: strings(),
  Entrypoint: strings(),
  Cmd: strings(),
  Volumes: nullable(z.record(z.string(), z.unknown())),
  WorkingDir: nullable(z.string()),
  Labels: nullable(z.record(z.string(), z.string())),
  StopSignal: nullable(z.string()),
  ArgsEscaped: nullable(z.boolean()),
  Healthcheck: nullable(healthcheckSchema),
  Shell: strings(),
});

const historySchema = z.object({
  created: nullable(z.string()),
  author: nullable(z.string()),
  created_by: nullable(z.string()),
  comment: nullable(z.string()),
  empty_layer: nullable(z.boolean()),
});

const configSchema = z.object({
  created: nullable(z.string()),
  author: nullable(z.string()),
  os: nullable(z.string()).transform((os) => os ?? 'linux'),
  architecture: nullable(z.string()).transform((architecture) => architecture ?? ''),
  variant: nullable(z.string()),
  'os.version': nullable(z.string()),
  config: nullable(executionSchema),
  rootfs: z.object({
    type: z.literal('layers'),
    diff_ids: nullable(
      z.array(z.string().refine(isDigest, 'not a digest that is supported')),
    ).transform((ids) => ids ?? []),
  }),
  history: nullable(z.array(historySchema)),
});

/** The configuration of an image (image-spec config.md). Fields are named as in the document. */
export type ImageConfig = z.output<typeof configSchema>;

export function parseImageConfig(content: Uint8Array): ImageConfig {
  return check(
    configSchema,
    parseJson(content, 'an image configuration'),
    'an image configuration',
  );
}

/** The user an image runs as, in the form that CRI's Image message wants: one of the two or neither. */
export function imageUser(config: ImageConfig): { uid?: number; username?: string } {
  const user = (config.config?.User ?? '').split(':')[0] ?? '';
  if (user === '') return {};
  return /^\d+$/.test(user) ? { uid: Number(user) } : { username: user };
}
