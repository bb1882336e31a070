import { z } from 'zod';
import { KeelsonError } from '../../base/index.ts';
import { isDigest } from './digest.ts';
import { isIndexType, isManifestType, isSchema1Type } from './image-media-types.ts';

/** null means absent, as everywhere in these documents. Unknown fields are let through. */
const nullable = <T extends z.ZodType>(type: T) =>
  type.nullish().transform((value) => value ?? undefined);

const platformSchema = z.object({
  os: z.string(),
  architecture: z.string(),
  variant: nullable(z.string()),
  'os.version': nullable(z.string()),
});

const descriptorSchema = z.object({
  mediaType: z.string(),
  digest: z.string().refine(isDigest, 'not a digest that is supported'),
  size: z.int().nonnegative(),
  urls: nullable(z.array(z.string())),
  annotations: nullable(z.record(z.string(), z.string())),
  platform: nullable(platformSchema),
  artifactType: nullable(z.string()),
});

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: nullable(z.string()),
  manifests: nullable(z.array(descriptorSchema)).transform((list) => list ?? []),
  annotations: nullable(z.record(z.string(), z.string())),
});

const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: nullable(z.string()),
  artifactType: nullable(z.string()),
  config: descriptorSchema,
  layers: nullable(z.array(descriptorSchema)).transform((list) => list ?? []),
  annotations: nullable(z.record(z.string(), z.string())),
});

/** A pointer to content (image-spec descriptor.md). */
export type Descriptor = z.output<typeof descriptorSchema>;
/** Manifests of one image for several platforms (image-spec image-index.md). */
export type ImageIndex = z.output<typeof indexSchema>;
/** The configuration and the layers, base first, of one image (image-spec manifest.md). */
export type ImageManifest = z.output<typeof manifestSchema>;

export type ManifestDocument =
  | { kind: 'index'; index: ImageIndex }
  | { kind: 'manifest'; manifest: ImageManifest };

/**
 * Reads a manifest or an index. `mediaType` is what the registry or the descriptor calls
 * it; without one, the document says itself what it is. A document that claims to be both
 * is refused (CVE-2021-41190), as is Docker's schema 1.
 */
export function parseManifest(
  content: Uint8Array,
  mediaType: string | undefined,
): ManifestDocument {
  const value = parseJson(content, 'a manifest');
  const own = ownMediaType(value);
  const type = mediaType !== undefined && isKnown(mediaType) ? mediaType : (own ?? mediaType);
  if (own !== undefined && type !== undefined && isKnown(type) && own !== type) {
    throw malformed('a manifest', `it is served as "${type}" and calls itself "${own}"`);
  }
  if (type !== undefined && isSchema1Type(type)) {
    throw new KeelsonError('UNIMPLEMENTED', 'Cannot read a manifest', {
      reason: 'it has the obsolete schema version 1',
      hint: 'push the image again with a current tool',
    });
  }
  const hasManifests = 'manifests' in value;
  const hasLayers = 'layers' in value || 'config' in value;
  if (hasManifests && hasLayers)
    throw malformed('a manifest', 'it is both an index and a manifest');
  const asIndex = type !== undefined && isKnown(type) ? isIndexType(type) : hasManifests;
  return asIndex
    ? { kind: 'index', index: check(indexSchema, value, 'an image index') }
    : { kind: 'manifest', manifest: check(manifestSchema, value, 'an image manifest') };
}

/** Parses JSON that must be an object; `what` names it in the error. */
export function parseJson(content: Uint8Array, what: string): object {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(content).toString('utf8'));
  } catch (cause) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot read ${what}`, {
      cause,
      reason: 'it is not JSON',
    });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw malformed(what, 'it is not a JSON object');
}

/** Checks a value against a schema; `what` names it in the error. */
export function check<T extends z.ZodType>(schema: T, value: unknown, what: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = issue?.path.join('.') ?? '';
  throw malformed(what, `${where === '' ? '' : `"${where}": `}${issue?.message ?? 'malformed'}`);
}

function malformed(what: string, reason: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', `Cannot read ${what}`, {
    reason: reason.length > 500 ? `${reason.slice(0, 500)}…` : reason,
  });
}

function ownMediaType(value: object): string | undefined {
  const type: unknown = 'mediaType' in value ? value.mediaType : undefined;
  return typeof type === 'string' && type !== '' ? type : undefined;
}

function isKnown(mediaType: string): boolean {
  return isIndexType(mediaType) || isManifestType(mediaType) || isSchema1Type(mediaType);
}
