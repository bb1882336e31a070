import { KeelsonError } from '../base/index.ts';

/**
 * A cgroup as the OCI runtime wants it: `<parent>/<id>` with cgroupfs, or
 * `<slice>:keelson:<id>` with systemd, which makes a unit `keelson-<id>.scope`.
 */
export function cgroupsPathOf(driver: 'cgroupfs' | 'systemd', parent: string, id: string): string {
  return driver === 'cgroupfs'
    ? `${parent === '/' ? '' : parent}/${id}`
    : `${parent}:keelson:${id}`;
}

/** The directory of such a cgroup below each mounted tree. */
export function cgroupDirectoryOf(cgroupsPath: string): string {
  const [slice = '', prefix, name] = cgroupsPath.split(':');
  if (prefix === undefined || name === undefined) return cgroupsPath;
  return `${expandSlice(slice)}/${prefix}-${name}.scope`;
}

/** A cgroup that somebody else wants for a container, in the notation of `cgroupsPathOf`. */
export function checkedCgroupsPath(driver: 'cgroupfs' | 'systemd', wanted: string): string {
  const form = driver === 'cgroupfs' ? /^(\/[^/\0]+)+$/ : /^([^:/\0]+\.slice)?:[^:/\0]+:[^:/\0]+$/;
  if (form.test(wanted) && !wanted.split('/').some((part) => part === '..' || part === '.')) {
    return wanted;
  }
  throw new KeelsonError('INVALID_ARGUMENT', `Cannot use cgroup "${wanted}"`, {
    reason:
      driver === 'cgroupfs'
        ? 'it is not an absolute path'
        : 'the systemd cgroup driver needs SLICE:PREFIX:NAME',
  });
}

/** `a-b.slice` lies in `a.slice` (systemd.slice(5)). */
function expandSlice(slice: string): string {
  const parts = slice.replace(/\.slice$/, '').split('-');
  const slices = parts.map((_, index) => `${parts.slice(0, index + 1).join('-')}.slice`);
  return `/${slices.join('/')}`;
}

/** The cgroup below which a pod's containers go: the one asked for, checked, or a default. */
export function cgroupParentFor(
  driver: 'cgroupfs' | 'systemd',
  wanted: string,
  sandboxId: string,
): string {
  if (wanted === '') return driver === 'cgroupfs' ? `/keelson/${sandboxId}` : 'system.slice';
  const refuse = (reason: string) =>
    new KeelsonError('INVALID_ARGUMENT', `Cannot use cgroup parent "${wanted}"`, { reason });
  if (driver === 'systemd') {
    // Kubelets give the whole path: `/kubepods.slice/kubepods-pod1.slice`.
    const slice = wanted.split('/').at(-1) ?? '';
    const isSlice = /^[^:]+\.slice$/.test(slice);
    if (!isSlice) throw refuse('the systemd cgroup driver needs the name of a slice');
    if (wanted !== slice && wanted !== `/${slice}` && wanted !== expandSlice(slice)) {
      throw refuse(`slice "${slice}" lies in "${expandSlice(slice)}"`);
    }
    return slice;
  }
  if (wanted.split('/').includes('..')) throw refuse('it leads out of its tree');
  return `/${wanted.split('/').filter(Boolean).join('/')}`;
}
