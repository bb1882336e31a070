import { KeelsonError } from '../base/index.ts';

/**
 * A cgroup as the OCI runtime wants it: `<parent>/<id>` with cgroupfs, or
 * `<slice>:keelson:<id>` with systemd, which makes a unit `keelson-<id>.scope`.
 */
export function cgroupsPathOf(driver: 'cgroupfs' | 'systemd', parent: string, id: string): string {
  return driver === 'cgroupfs' ? `${parent}/${id}` : `${parent}:keelson:${id}`;
}

/** The cgroup below which a pod's containers go: the one asked for, checked, or a default. */
export function cgroupParentFor(
  driver: 'cgroupfs' | 'systemd',
  wanted: string,
  sandboxId: string,
): string {
  if (wanted === '') return driver === 'cgroupfs' ? `/keelson/${sandboxId}` : 'system.slice';
  const isSlice = wanted.endsWith('.slice') && !wanted.slice(1).includes('/');
  const refuse = (reason: string) =>
    new KeelsonError('INVALID_ARGUMENT', `Cannot use cgroup parent "${wanted}"`, { reason });
  if (driver === 'systemd') {
    if (!isSlice) throw refuse('the systemd cgroup driver needs the name of a slice');
    return wanted.replace(/^\//, '');
  }
  if (wanted.split('/').includes('..')) throw refuse('it leads out of its tree');
  return `/${wanted.split('/').filter(Boolean).join('/')}`;
}
