import { KeelsonError } from '../base/index.ts';
import type { ImageConfig } from '../oci/spec/index.ts';
import type { ContainerConfig } from './config.ts';

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What an image says of how it is run; nothing of it need be there. */
export type ProcessDefaults = Partial<NonNullable<ImageConfig['config']>>;

/** The command line: what was asked, else the image's entrypoint and command. */
export function argvOf(config: ContainerConfig, image: ProcessDefaults): string[] {
  const entrypoint = config.command.length > 0 ? config.command : (image.Entrypoint ?? []);
  const args =
    config.args.length > 0 || config.command.length > 0 ? config.args : (image.Cmd ?? []);
  const argv = [...entrypoint, ...args];
  if (argv.length === 0 || argv[0] === '') {
    throw new KeelsonError('INVALID_ARGUMENT', 'Cannot create a container without a command', {
      reason: 'neither the container nor its image names one',
    });
  }
  return argv;
}

/**
 * The environment, with what devices add last; of two values for one name the later counts,
 * at the place of the first.
 * Without a HOME, or with an empty one, runtimes would look it up in the image's own
 * /etc/passwd, by means that a hostile one can hang.
 */
export function environmentOf(
  config: ContainerConfig,
  image: ProcessDefaults,
  { hostname, home, added = [] }: { hostname: string; home: string; added?: readonly string[] },
): string[] {
  const variables = new Map([['PATH', DEFAULT_PATH]]);
  if (config.tty) variables.set('TERM', 'xterm');
  variables.set('HOSTNAME', hostname);
  const setAll = (list: readonly string[]) => {
    for (const each of list) {
      const split = each.indexOf('=');
      if (split > 0) variables.set(each.slice(0, split), each.slice(split + 1));
    }
  };
  setAll(image.Env ?? []);
  for (const { key, value } of config.envs) variables.set(key, value);
  setAll(added);
  if (!variables.get('HOME')) variables.set('HOME', home);
  return [...variables].map(([key, value]) => `${key}=${value}`);
}

export function workingDirectoryOf(config: ContainerConfig, image: ProcessDefaults): string {
  const directory = config.workingDir || image.WorkingDir || '/';
  if (!directory.startsWith('/')) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot use working directory "${directory}"`, {
      reason: 'it is not an absolute path',
    });
  }
  return directory;
}
