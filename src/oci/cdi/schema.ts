import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { isDeviceName, isKind } from './names.ts';

/** Versions of the specification whose documents are understood. */
const VERSIONS = ['0.3.0', '0.4.0', '0.5.0', '0.6.0', '0.7.0', '0.8.0', '1.0.0'];

/** The hooks that a container runtime runs (config.md, "POSIX-platform Hooks"). */
export const HOOK_NAMES = [
  ...['prestart', 'createRuntime', 'createContainer', 'startContainer'],
  ...['poststart', 'poststop'],
] as const;

const path = z.string().refine(isAbsolute, { error: 'must be an absolute path' });
const variable = z.string().regex(/^[^=\0]+=[^\0]*$/, 'must be NAME=VALUE');
const id = z.int().min(0).max(4_294_967_294);
const annotations = z.record(z.string(), z.string());

const deviceNode = z.strictObject({
  path,
  /** Since 0.5.0. Left out: as `path`. */
  hostPath: path.optional(),
  type: z.enum(['b', 'c', 'u', 'p']).optional(),
  major: z.int().optional(),
  minor: z.int().optional(),
  fileMode: z.int().min(0).optional(),
  permissions: z
    .string()
    .regex(/^[rwm]*$/)
    .optional(),
  uid: id.optional(),
  gid: id.optional(),
});

const mount = z.strictObject({
  hostPath: z.string().min(1),
  containerPath: path,
  options: z.array(z.string()).optional(),
  /** Since 0.4.0. */
  type: z.string().optional(),
});

const hook = z.strictObject({
  hookName: z.enum(HOOK_NAMES),
  path,
  args: z.array(z.string()).optional(),
  env: z.array(variable).optional(),
  /** Seconds. */
  timeout: z.int().min(0).optional(),
});

/** Since 0.7.0. */
const intelRdt = z.strictObject({
  closID: z
    .string()
    .regex(/^[^/\n]*$/)
    .refine((value) => value !== '.' && value !== '..')
    .optional(),
  l3CacheSchema: z.string().optional(),
  memBwSchema: z.string().optional(),
  schemata: z.array(z.string()).optional(),
  enableMonitoring: z.boolean().optional(),
  enableCMT: z.boolean().optional(),
  enableMBM: z.boolean().optional(),
});

const edits = z.strictObject({
  env: z.array(variable).optional(),
  deviceNodes: z.array(deviceNode).optional(),
  hooks: z.array(hook).optional(),
  mounts: z.array(mount).optional(),
  intelRdt: intelRdt.optional(),
  /** Since 0.7.0. */
  additionalGids: z.array(id).optional(),
});

const device = z.strictObject({
  name: z.string().refine(isDeviceName, { error: 'is no name of a device' }),
  annotations: annotations.optional(),
  containerEdits: edits,
});

/** A document of the Container Device Interface (github.com/cncf-tags/container-device-interface, SPEC.md). */
export const cdiSchema = z.strictObject({
  cdiVersion: z
    .string()
    .transform((version) => version.replace(/^v/, ''))
    .refine((version) => VERSIONS.includes(version), {
      error: `must be one of ${VERSIONS.join(', ')}`,
    }),
  kind: z.string().refine(isKind, { error: 'must be vendor/class' }),
  annotations: annotations.optional(),
  devices: z.array(device).min(1),
  containerEdits: edits.optional(),
});

export type CdiSpec = z.output<typeof cdiSchema>;
export type CdiEdits = z.output<typeof edits>;
export type CdiDeviceNode = z.output<typeof deviceNode>;
export type CdiHook = z.output<typeof hook>;
export type CdiMount = z.output<typeof mount>;
export type CdiIntelRdt = z.output<typeof intelRdt>;
