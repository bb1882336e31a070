import { lstat, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { ifExists, KeelsonError } from './errors.ts';

/**
 * Takes away the socket that a server left which was killed: nobody listens on it. Fails
 * with ALREADY_EXISTS if somebody does, or if what is there is no socket. `otherwise` says
 * what the user can do instead, such as `choose another address`.
 */
export async function removeStaleSocket(path: string, otherwise: string): Promise<void> {
  const there = await ifExists(lstat(path));
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new KeelsonError('ALREADY_EXISTS', `"${path}" is no socket`, {
      hint: `${otherwise}, or move away what is there`,
    });
  }
  if (await isListening(path)) {
    throw new KeelsonError('ALREADY_EXISTS', `Socket "${path}" is in use`, {
      hint: `another process listens there: stop it, or ${otherwise}`,
    });
  }
  await rm(path, { force: true });
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path, () => resolve(true));
    probe.on('error', () => resolve(false));
    probe.on('connect', () => probe.destroy());
  });
}
