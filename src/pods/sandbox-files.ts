import { chown, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { span } from '../base/index.ts';
import { contextOption, MS, mount } from '../linux/index.ts';
import type { SandboxConfig, UserMappings } from './config.ts';
import { hostIdOf } from './mapped-mounts.ts';
import { hostnameOf } from './sandbox-namespaces.ts';

/** Files of a sandbox's directory that its containers see at the paths named. */
export const SANDBOX_FILES = {
  hostname: '/etc/hostname',
  hosts: '/etc/hosts',
  'resolv.conf': '/etc/resolv.conf',
} as const;

/** The sandbox's shared memory, below its directory. */
export const SHM = 'shm';

export async function writeSandboxFiles(config: SandboxConfig, directory: string): Promise<void> {
  const mode = 0o644;
  await writeFile(join(directory, 'hostname'), `${hostnameOf(config)}\n`, { mode });
  await copyFile('/etc/hosts', join(directory, 'hosts'));
  if (config.dns === undefined) {
    await copyFile('/etc/resolv.conf', join(directory, 'resolv.conf'));
  } else {
    await writeFile(join(directory, 'resolv.conf'), resolvConf(config.dns), { mode });
  }
  const { user } = config.namespaces;
  for (const file of Object.keys(SANDBOX_FILES)) {
    await chown(join(directory, file), hostIdOf(0, user?.uids), hostIdOf(0, user?.gids));
  }
}

/** resolv.conf(5). */
export function resolvConf(dns: NonNullable<SandboxConfig['dns']>): string {
  return [
    ...(dns.searches.length > 0 ? [`search ${dns.searches.join(' ')}`] : []),
    ...dns.servers.map((server) => `nameserver ${server}`),
    ...(dns.options.length > 0 ? [`options ${dns.options.join(' ')}`] : []),
  ]
    .map((line) => `${line}\n`)
    .join('');
}

/** How the shared memory of a pod is: its size in bytes, whose it is, its SELinux label. */
export interface ShmOptions {
  size: number;
  user?: UserMappings | undefined;
  context?: string | undefined;
}

/** Mounts the /dev/shm that the containers of a pod share. */
export async function mountShm(directory: string, options: ShmOptions): Promise<void> {
  const { size, user, context } = options;
  const owner = `uid=${hostIdOf(0, user?.uids)},gid=${hostIdOf(0, user?.gids)}`;
  const target = join(directory, SHM);
  await mkdir(target, { mode: 0o1777 });
  await span('mount.tmpfs', { target, size }, async () =>
    mount({
      source: 'shm',
      target,
      type: 'tmpfs',
      flags: MS.NOSUID | MS.NODEV | MS.NOEXEC,
      data: `mode=1777,size=${size},${owner}${contextOption(context)}`,
    }),
  );
}
