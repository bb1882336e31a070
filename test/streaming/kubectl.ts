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

/**
 * What a kubectl wrote to its standard error, without a remark of its own: from 1.30 to 1.33 it may
 * read the empty message that says "connected" before it has made its streams, and says so
 * (kubernetes/kubernetes#131203).
 */
export function withoutOwnRemarks(stderr: Buffer): string {
  return stderr.toString().replace(/^E\d{4} .*Unknown stream id 1, discarding message\n/gm, '');
}
