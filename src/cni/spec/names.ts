import { CNI_ERROR, CniError } from './error.ts';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** The longest interface name, in bytes (IFNAMSIZ without the final NUL). */
const LONGEST_IFNAME = 15;

/** The name of a network, or a container id: the specification gives both the same form. */
export function isCniName(name: string): boolean {
  return NAME.test(name);
}

/** Throws if `id` cannot be CNI_CONTAINERID. */
export function checkContainerId(id: string): void {
  if (!isCniName(id))
    throw invalid('CNI_CONTAINERID', id, 'it must match [a-zA-Z0-9][a-zA-Z0-9_.-]*');
}

/** Throws if `name` cannot be CNI_IFNAME. */
export function checkInterfaceName(name: string): void {
  const reason = whyNoInterfaceName(name);
  if (reason !== undefined) throw invalid('CNI_IFNAME', name, reason);
}

function whyNoInterfaceName(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (Buffer.byteLength(name) > LONGEST_IFNAME) return `it is longer than ${LONGEST_IFNAME} bytes`;
  if (name === '.' || name === '..') return 'it is reserved';
  if (/[/:\s\0]/.test(name)) return 'it holds a slash, a colon or white space';
  return undefined;
}

/** Throws if `type` cannot be the file name of a plugin program. */
export function checkPluginType(type: string): void {
  if (type === '' || type === '.' || type === '..' || /[/\0]/.test(type)) {
    throw new CniError(CNI_ERROR.INVALID_CONFIG, `Invalid plugin type ${JSON.stringify(type)}`, {
      details: 'it must be the name of a program, without a path',
    });
  }
}

/**
 * CNI_ARGS from pairs of key and value. Plugins split at `;` and `=`, and cannot be told
 * otherwise: neither may stand in a key or value.
 */
export function formatArgs(args: readonly (readonly [string, string])[]): string {
  for (const [key, value] of args) {
    if (key === '' || /[;=\0]/.test(key) || /[;=\0]/.test(value)) {
      throw invalid('CNI_ARGS', `${key}=${value}`, 'a key or value holds ";" or "="');
    }
  }
  return args.map(([key, value]) => `${key}=${value}`).join(';');
}

function invalid(variable: string, value: string, reason: string): CniError {
  return new CniError(
    CNI_ERROR.INVALID_ENVIRONMENT,
    `Invalid ${variable} ${JSON.stringify(value.slice(0, 300))}`,
    { details: reason },
  );
}
