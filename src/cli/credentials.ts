import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import type { Command } from 'commander';
import { AuthConfig } from '../gen/runtime/v1/api.ts';
import type { Context } from './context.ts';
import { usageError } from './failures.ts';

export interface CredentialOptions {
  creds?: string;
  auth?: string;
  username?: string;
}

/** Adds the options with which a registry is asked for an image. */
export function credentialOptions(command: Command): Command {
  return command
    .option('--creds <user:password>', 'credentials for the registry (or CRICTL_CREDS)')
    .option('--auth <base64>', 'the same in base64 (or CRICTL_AUTH)')
    .option('-u, --username <user>', 'user for the registry; the password is read from stdin');
}

/** The credentials that the user gave; undefined for none. */
export async function credentialsOf(
  options: CredentialOptions,
  context: Context,
): Promise<AuthConfig | undefined> {
  const ways = [options.creds, options.auth, options.username].filter((way) => way !== undefined);
  if (ways.length > 1) throw usageError('Use one of --creds, --auth and --username');
  if (options.username !== undefined) {
    const password = await readPassword(context);
    return AuthConfig.fromPartial({ username: options.username, password });
  }
  const fromFlags = ways.length > 0;
  const creds = options.creds ?? (fromFlags ? undefined : context.env['CRICTL_CREDS']);
  const auth = options.auth ?? (fromFlags ? undefined : context.env['CRICTL_AUTH']);
  if (creds) {
    const colon = creds.indexOf(':');
    if (colon === 0) throw usageError('The credentials name no user');
    const [username, password] =
      colon < 0 ? [creds, ''] : [creds.slice(0, colon), creds.slice(colon + 1)];
    return AuthConfig.fromPartial({ username, password });
  }
  return auth ? AuthConfig.fromPartial({ auth }) : undefined;
}

/** The first line of stdin; on a terminal it is asked for and not shown. */
async function readPassword({ stdin, stderr, signal }: Context): Promise<string> {
  const terminal = stdin.isTTY ?? false;
  if (terminal) stderr.write('Password: ');
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: stdin, output: silent, terminal });
  try {
    const onEnd = Promise.withResolvers<string>();
    lines.once('close', () => onEnd.reject(usageError('No password was given')));
    return await Promise.race([lines.question('', { signal }), onEnd.promise]);
  } finally {
    lines.close();
    if (terminal) stderr.write('\n');
  }
}
