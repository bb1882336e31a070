import { KeelsonError } from '../base/index.ts';
import { listMounts } from './mounts.ts';
import { run } from './run.ts';

/**
 * Takes all mounts off a path, writing what they hold back to their disks: by the umount
 * program, because that may take long. Fails with FAILED_PRECONDITION when a process uses
 * one. Nothing mounted is no error.
 */
export async function unmountUnlessBusy(path: string): Promise<void> {
  while (listMounts().some(({ target }) => target === path)) {
    const { code, stderr } = await run('umount', ['--no-canonicalize', '--', path], {
      env: { ...process.env, LC_ALL: 'C' },
    });
    if (code === 0) continue;
    const reason = stderr.toString().trim();
    // Someone else was quicker.
    if (reason.includes('not mounted')) continue;
    const busy = reason.includes('busy');
    throw new KeelsonError(busy ? 'FAILED_PRECONDITION' : 'INTERNAL', `Cannot unmount "${path}"`, {
      reason: reason.replace(/^umount: /, ''),
    });
  }
}
