import { randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { KeelsonError, readTextIfExists } from '../base/index.ts';
import { run } from '../linux/index.ts';
import type { SelinuxOptions } from './config.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';

/** The labels of containers on a node whose kernel enforces or watches SELinux. */
export interface SelinuxDefaults {
  /** `user:role:type:level` of processes. */
  process: string;
  /** The same of files. */
  file: string;
}

export interface SelinuxLabels {
  process: string;
  mount: string;
}

/** What the policy of this node says of containers; undefined where there is no SELinux. */
export async function readSelinuxDefaults(): Promise<SelinuxDefaults | undefined> {
  if (!existsSync('/sys/fs/selinux/enforce')) return undefined;
  const config = (await readTextIfExists('/etc/selinux/config')) ?? '';
  const policy = /^SELINUXTYPE=(\S+)/m.exec(config)?.[1] ?? 'targeted';
  const contexts = await readTextIfExists(`/etc/selinux/${policy}/contexts/lxc_contexts`);
  return parseContexts(contexts ?? '');
}

/** The lines `process = "…"` and `file = "…"` of lxc_contexts. */
export function parseContexts(text: string): SelinuxDefaults | undefined {
  const context = (name: string) =>
    new RegExp(`^\\s*${name}\\s*=\\s*"([^"]+)"`, 'm').exec(text)?.[1];
  const [process, file] = [context('process'), context('file')];
  return process === undefined || file === undefined ? undefined : { process, file };
}

const CATEGORIES = 1024;

/** A level of two categories that no other pod has, so that pods cannot touch each other's files. */
export function freeLevel(taken: ReadonlySet<string>): string {
  for (;;) {
    const [low = 0, high = 0] = [randomInt(CATEGORIES), randomInt(CATEGORIES)].sort(
      (a, b) => a - b,
    );
    const level = `s0:c${low},c${high}`;
    if (low !== high && !taken.has(level)) return level;
  }
}

/**
 * The labels of a process in a pod and of what it may write. The container's options count
 * before the pod's, and a level that neither names is the pod's own.
 */
export function selinuxLabels(
  defaults: SelinuxDefaults,
  sandbox: Pick<SandboxRecord, 'config' | 'selinuxLevel'>,
  container: SelinuxOptions | undefined,
): SelinuxLabels {
  const options = container ?? sandbox.config.security.selinux;
  const [user, role, type, level] = split(defaults.process);
  const [fileUser, fileRole, fileType] = split(defaults.file);
  const chosen = options?.level || sandbox.selinuxLevel || level;
  return {
    process: [options?.user || user, options?.role || role, options?.type || type, chosen].join(
      ':',
    ),
    mount: [options?.user || fileUser, fileRole, fileType, chosen].join(':'),
  };
}

/** A level may hold colons itself. */
function split(label: string): string[] {
  const [user = '', role = '', type = '', ...level] = label.split(':');
  return [user, role, type, level.join(':')];
}

/**
 * Labels of a container; undefined where there is no SELinux. Of a privileged one only files are
 * labelled: from their label the policy knows that its process is not to be confined (spc_t).
 */
export function labelsOf(
  defaults: SelinuxDefaults | undefined,
  sandbox: Pick<SandboxRecord, 'config' | 'selinuxLevel'>,
  { config }: Pick<ContainerRecord, 'config'>,
): Partial<SelinuxLabels> | undefined {
  if (defaults === undefined) return undefined;
  const { process, mount } = selinuxLabels(defaults, sandbox, config.security.selinux);
  return config.security.privileged ? { mount } : { process, mount };
}

/** Gives all files of a volume a label. A file system that has no labels is left alone. */
export async function relabel(path: string, label: string): Promise<void> {
  const result = await run('chcon', ['--recursive', '--no-dereference', label, '--', path]);
  const reason = result.stderr.toString().trim();
  if (result.code === 0 || /not supported/i.test(reason)) return;
  throw new KeelsonError('UNKNOWN', `Cannot label "${path}" as "${label}"`, { reason });
}
