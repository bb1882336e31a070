import { KeelsonError } from '../../base/index.ts';

/** sockaddr_un holds so many bytes (unix(7)). */
const LONGEST_PATH = 107;

/**
 * The path of an endpoint: `unix:///path`, `unix:/path` or the path. Fails with
 * INVALID_ARGUMENT when it is no absolute path, or too long for a socket.
 */
export function socketPath(endpoint: string): string {
  const path = endpoint.replace(/^unix:(\/\/(?=\/))?/, '');
  const cannot = (reason: string) =>
    new KeelsonError('INVALID_ARGUMENT', `Cannot use endpoint "${endpoint}"`, { reason });
  if (!path.startsWith('/') || path.startsWith('//')) {
    throw cannot('it is not unix:///PATH with an absolute path');
  }
  if (Buffer.byteLength(path) > LONGEST_PATH) {
    throw cannot(`the path of a socket has at most ${LONGEST_PATH} bytes`);
  }
  return path;
}
