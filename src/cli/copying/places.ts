import { usageError } from '../failures.ts';

/** A place in a container. */
export interface Inside {
  readonly containerId: string;
  /** Absolute. */
  readonly path: string;
}

/** `CONTAINER:/PATH`; undefined for a path on this host, which has a `/` before any `:`. */
export function parsePlace(text: string): Inside | undefined {
  const colon = text.indexOf(':');
  if (colon < 0 || text.slice(0, colon).includes('/') || text.startsWith('.')) return undefined;
  const [containerId, path] = [text.slice(0, colon), text.slice(colon + 1)];
  if (containerId === '' || !path.startsWith('/') || path.includes('\0')) {
    throw usageError(`"${text}" is no place in a container: write CONTAINER:/PATH`);
  }
  return { containerId, path };
}

/** The directory and the name of a path, both without a slash at the end. */
export function splitPath(path: string): { directory: string; name: string } {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  const name = parts.at(-1) ?? '';
  const before = parts.slice(0, -1).join('/');
  return { directory: path.startsWith('/') ? `/${before}` : before || '.', name };
}
