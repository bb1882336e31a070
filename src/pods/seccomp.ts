import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { KeelsonError } from '../base/index.ts';
import type { Seccomp } from '../oci/spec/index.ts';
import type { SecurityProfile } from './config.ts';

/**
 * The seccomp filter of a process: the RuntimeDefault one, one read from a file of this
 * node, or none. Fails with INVALID_ARGUMENT for a file that is no profile.
 */
export async function seccompFor(
  profile: SecurityProfile,
): Promise<'default' | Seccomp | undefined> {
  if (profile.type === 'unconfined') return undefined;
  if (profile.type === 'runtime-default') return 'default';
  const action = `Cannot use seccomp profile "${profile.reference}"`;
  if (resolve(profile.reference) !== profile.reference) {
    throw new KeelsonError('INVALID_ARGUMENT', action, { reason: 'it is not an absolute path' });
  }
  try {
    return parseSeccomp(await readFile(profile.reference, 'utf8'));
  } catch (error) {
    throw new KeelsonError('INVALID_ARGUMENT', action, {
      cause: error,
      hint: 'a profile is a JSON file on this node, as in the OCI spec',
    });
  }
}

function parseSeccomp(text: string): Seccomp {
  const profile = JSON.parse(text) as Partial<Seccomp> | null;
  if (typeof profile?.defaultAction === 'string') return profile as Seccomp;
  throw new Error('it has no defaultAction');
}
