import { existsSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The kubectl programs of this machine: that of PATH, and Debian's that setup brought if PATH
 * had another. Up to 1.28 kubectl speaks SPDY, later versions try WebSocket first.
 */
export function findKubectls(): string[] {
  const inPath = (process.env['PATH'] ?? '').split(':').map((each) => join(each, 'kubectl'));
  const own = new URL('../../.tools/kubernetes-client/usr/bin/kubectl', import.meta.url).pathname;
  const first = inPath.find((path) => existsSync(path));
  return [...(first === undefined ? [] : [first]), ...(existsSync(own) ? [own] : [])];
}
