import { parseAllDocuments } from 'yaml';
import type { z } from 'zod';
import { KeelsonError, messageOf } from '../../base/index.ts';
import { isWritable, KINDS, type Kind, type Manifest, SCHEMAS } from './kinds.ts';

/** Bytes of a file of manifests. */
const LARGEST = 4 * 1024 * 1024;
/** Aliases in YAML: each may stand for much. */
const MOST_ALIASES = 100;

/**
 * The objects of a YAML or JSON text, in their order. Unknown kinds and fields are errors,
 * a Secret too: Keelson reads those where the administrator keeps them. What a server notes
 * in objects (status, uid, …) may be there and does not count, as with Kubernetes.
 */
export function parseManifests(text: string): Manifest[] {
  if (Buffer.byteLength(text) > LARGEST) {
    throw refused('Cannot read manifests', `they have more than ${LARGEST} bytes`);
  }
  const documents = parseAllDocuments(text, { uniqueKeys: true });
  const manifests: Manifest[] = [];
  for (const document of Array.isArray(documents) ? documents : []) {
    const [error] = document.errors;
    if (error !== undefined) throw refused('Cannot read manifests', firstLine(error.message));
    const value: unknown = toValue(document);
    if (value !== null && value !== undefined) manifests.push(...flatten(value));
  }
  return manifests;
}

function toValue(document: { toJS(options: { maxAliasCount: number }): unknown }): unknown {
  try {
    return document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch (error) {
    throw refused('Cannot read manifests', messageOf(error));
  }
}

/** `kubectl get -o yaml` writes several objects as one of kind List. */
function flatten(value: unknown): Manifest[] {
  const { kind, apiVersion, items } = value as Record<string, unknown>;
  if (kind === 'List' && apiVersion === 'v1' && Array.isArray(items)) {
    return items.map(parseManifest);
  }
  return [parseManifest(value)];
}

/** Checks one object that a user brings. */
export function parseManifest(value: unknown): Manifest {
  const { kind, metadata } = (value ?? {}) as { kind?: unknown; metadata?: { name?: unknown } };
  const what = `${text(kind, 'object')} "${text(metadata?.name, '')}"`;
  const known = KINDS.find((each) => each === kind && isWritable(each));
  if (known !== undefined) return parseObject(known, value);
  if (kind === 'Secret') {
    throw refused(
      `Cannot take ${what}`,
      'Keelson stores no secrets',
      'write it to NAMESPACE/NAME.yaml below csi.secrets_dir',
    );
  }
  const kinds = KINDS.filter(isWritable).join(', ');
  throw refused(`Cannot take ${what}`, 'its kind is unknown here', `there are ${kinds}`);
}

/** Checks an object of a known kind, also one that Keelson itself wrote. */
export function parseObject<K extends Kind>(kind: K, value: unknown): Manifest<K> {
  const parsed = SCHEMAS[kind].safeParse(value);
  if (parsed.success) return parsed.data as Manifest<K>;
  const { metadata } = value as { metadata?: { name?: unknown } };
  throw new KeelsonError('INVALID_ARGUMENT', `Cannot take ${kind} "${text(metadata?.name, '')}"`, {
    reason: describe(parsed.error),
  });
}

/** Such as `spec.csi.volumeHandle: must …; spec.x: is unknown`. */
function describe(error: z.ZodError): string {
  const issues = error.issues.map((issue) => {
    const path = issue.path.map(String);
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => `${[...path, key].join('.')}: is unknown`).join('; ');
    }
    return `${path.join('.')}: ${issue.message}`;
  });
  return issues.slice(0, 5).join('; ');
}

function text(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? value.slice(0, 80) : otherwise;
}

function firstLine(message: string): string {
  return message.split('\n', 1)[0]?.replace(/:$/, '') ?? message;
}

function refused(action: string, reason: string, hint?: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', action, {
    reason,
    ...(hint === undefined ? {} : { hint }),
  });
}
