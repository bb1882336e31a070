import { KeelsonError } from '../base/index.ts';
import type { Credentials } from '../oci/registry/index.ts';
import type { Exchange } from './exchange.ts';

const FIELDS = [
  'username',
  'password',
  'auth',
  'serverAddress',
  'identityToken',
  'registryToken',
] as const;

/**
 * The credentials of a request: the fields of CRI's AuthConfig as JSON in base64, in the
 * header `X-Registry-Auth`. A query would put them into logs.
 */
export function registryAuth({ request }: Exchange): { credentials?: Credentials } {
  const header = request.headers['x-registry-auth'];
  if (header === undefined || header === '') return {};
  const given = parse(String(header));
  const credentials: Credentials = {};
  for (const field of FIELDS) {
    const value = given?.[field];
    if (typeof value === 'string' && value !== '') credentials[field] = value;
  }
  if (given !== undefined) return { credentials };
  throw new KeelsonError('INVALID_ARGUMENT', 'Cannot use header "X-Registry-Auth"', {
    reason: 'it is no JSON object in base64',
  });
}

/** The parser's own message may quote a secret. */
function parse(header: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(header, 'base64').toString('utf8'));
    if (typeof value !== 'object' || value === null) return undefined;
    return { ...value };
  } catch {
    return undefined;
  }
}
