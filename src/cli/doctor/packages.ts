import { readTextIfExists } from '../../base/index.ts';

/** How a distribution installs packages. */
const COMMANDS: Readonly<Record<string, string>> = {
  debian: 'apt-get install',
  fedora: 'dnf install',
  rhel: 'dnf install',
  suse: 'zypper install',
  arch: 'pacman -S',
  alpine: 'apk add',
};

/** Packages that do not have the same name everywhere. */
const NAMES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'containernetworking-plugins': {
    arch: 'cni-plugins',
    alpine: 'cni-plugins',
    suse: 'cni-plugins',
  },
};

/** Tells how to install a package on this host, named as Debian names it. */
export type Installer = (packageName: string) => string;

/** Reads which distribution this is from os-release(5). */
export async function installerOf(path = '/etc/os-release'): Promise<Installer> {
  const text = (await readTextIfExists(path)) ?? '';
  const ids = [...text.matchAll(/^(?:ID|ID_LIKE)="?([^"\n]*)"?$/gm)].flatMap(([, value]) =>
    (value ?? '').split(' '),
  );
  const family = ids.find((id) => Object.hasOwn(COMMANDS, id));
  return (name) => {
    if (family === undefined) return `install the package "${name}" of your distribution`;
    return `${COMMANDS[family]} ${NAMES[name]?.[family] ?? name}`;
  };
}
