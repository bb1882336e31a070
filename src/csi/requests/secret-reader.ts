import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { errnoOf, KeelsonError } from '../../base/index.ts';
import { type SecretReference, secretReference } from '../objects/index.ts';

/** Bytes of a Secret, as in Kubernetes. */
const LARGEST = 1024 * 1024;

const key = z.string().regex(/^[-._A-Za-z0-9]+$/);

const secret = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Secret'),
  metadata: z.looseObject({}),
  type: z.string().optional(),
  immutable: z.boolean().optional(),
  data: z.record(key, z.base64()).optional(),
  stringData: z.record(key, z.string()).optional(),
});

/**
 * Secrets of volumes: manifests of kind Secret at `NAMESPACE/NAME.yaml` below a directory.
 * They are read when a call needs them, and kept nowhere; no error tells a value.
 */
export class SecretReader {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** The values by key; nothing for no reference. Fails with FAILED_PRECONDITION. */
  async read(reference: SecretReference | undefined): Promise<Record<string, string>> {
    if (reference === undefined) return {};
    // Checked once more: from here on the names are a path.
    const { namespace, name } = secretReference.parse(reference);
    const path = join(this.#directory, namespace, `${name}.yaml`);
    const action = `Cannot read secret "${namespace}/${name}"`;
    return valuesOf(await readPrivate(path, action), action);
  }
}

async function readPrivate(path: string, action: string): Promise<string> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    const info = await file.stat();
    if (!info.isFile() || info.size > LARGEST) {
      throw failed(action, `"${path}" is no file of at most ${LARGEST} bytes`);
    }
    if ((info.mode & 0o007) !== 0) {
      throw failed(action, `everyone may open "${path}"`, 'chmod 600 it');
    }
    return await file.readFile('utf8');
  } catch (error) {
    if (error instanceof KeelsonError) throw error;
    const missing = errnoOf(error) === 'ENOENT';
    throw failed(
      action,
      missing ? `there is no file "${path}"` : `"${path}" cannot be read: ${errnoOf(error)}`,
      missing ? 'write the manifest of the Secret there' : undefined,
    );
  }
}

function valuesOf(text: string, action: string): Record<string, string> {
  let parsed: z.output<typeof secret> | undefined;
  try {
    parsed = secret.safeParse(parse(text)).data;
  } catch {
    // The parser's words would quote the file.
  }
  if (parsed === undefined) {
    throw failed(action, 'its file is no manifest of a v1 Secret with data or stringData');
  }
  const decoded = Object.entries(parsed.data ?? {}).map(([name, value]) => [
    name,
    Buffer.from(value, 'base64').toString('utf8'),
  ]);
  return { ...Object.fromEntries(decoded), ...parsed.stringData };
}

function failed(action: string, reason: string, hint?: string): KeelsonError {
  return new KeelsonError('FAILED_PRECONDITION', action, {
    reason,
    ...(hint === undefined ? {} : { hint }),
  });
}
