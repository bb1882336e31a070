import { existsSync } from 'node:fs';
import { KeelsonError, readTextIfExists } from '../base/index.ts';
import { run } from '../linux/index.ts';
import { defaultApparmorPolicy } from '../oci/spec/index.ts';
import type { SecurityProfile } from './config.ts';
import type { HostFacts } from './pods.ts';

/** The name of the RuntimeDefault profile in the kernel. */
export const DEFAULT_PROFILE = 'keelson-default';

/** All distributions that have it have it there; it need not be in PATH. */
export const APPARMOR_PARSER = '/sbin/apparmor_parser';

/** Where the kernel tells which profiles it has: a file of securityfs. */
export const LOADED_PROFILES = '/sys/kernel/security/apparmor/profiles';

export interface ApparmorRequest {
  profile: SecurityProfile | undefined;
  privileged: boolean;
}

/**
 * The AppArmor profile of a process, by the name that the kernel knows; undefined for none.
 * Without a request it is RuntimeDefault where the kernel has AppArmor. A privileged process has
 * the profile of the node that it names, and otherwise none. Fails with INVALID_ARGUMENT where a
 * profile is asked for that the kernel does not have.
 */
export async function apparmorFor(
  { profile, privileged }: ApparmorRequest,
  host: Pick<HostFacts, 'apparmor'>,
): Promise<string | undefined> {
  if (profile?.type === 'unconfined') return undefined;
  if (privileged && profile?.type !== 'localhost') return undefined;
  if (!host.apparmor) {
    if (profile === undefined) return undefined;
    throw refusal(
      profile,
      'this host has no AppArmor (it needs the kernel, securityfs and apparmor_parser)',
    );
  }
  if (profile?.type !== 'localhost') {
    await loadDefault();
    return DEFAULT_PROFILE;
  }
  const name = profile.reference.replace(/^localhost\//, '');
  if (await isLoaded(name)) return name;
  throw refusal(profile, 'AppArmor profile not found: the kernel has no such profile loaded');
}

function refusal(profile: SecurityProfile, reason: string): KeelsonError {
  const name = profile.type === 'localhost' ? profile.reference : profile.type;
  return new KeelsonError('INVALID_ARGUMENT', `Cannot use AppArmor profile "${name}"`, { reason });
}

async function isLoaded(name: string): Promise<boolean> {
  const text = (await readTextIfExists(LOADED_PROFILES)) ?? '';
  return parseLoadedProfiles(text).has(name);
}

/** Lines such as `keelson-default (enforce)`; names may hold spaces. */
export function parseLoadedProfiles(text: string): Set<string> {
  return new Set(
    text.split('\n').flatMap((line) => {
      const name = /^(.+) \(\w+\)$/.exec(line)?.[1];
      return name === undefined ? [] : [name];
    }),
  );
}

/** Loading it anew when somebody took it out; replacing it is harmless. */
async function loadDefault(): Promise<void> {
  if (await isLoaded(DEFAULT_PROFILE)) return;
  const input = defaultApparmorPolicy(
    DEFAULT_PROFILE,
    existsSync('/etc/apparmor.d/tunables/global'),
  );
  const result = await run(APPARMOR_PARSER, ['--replace', '--skip-cache'], { input });
  if (result.code === 0) return;
  throw new KeelsonError('UNKNOWN', `Cannot load AppArmor profile "${DEFAULT_PROFILE}"`, {
    reason: result.stderr.toString().trim(),
  });
}
