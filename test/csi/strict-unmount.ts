import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { promisify } from 'node:util';

/** Unmounts as drivers do, which fails while the mount is busy, and removes the directory. */
export async function umount(path: string): Promise<void> {
  const { stdout } = await promisify(execFile)('findmnt', ['-n', path]).catch(() => ({
    stdout: '',
  }));
  if (stdout !== '') await promisify(execFile)('umount', [path]);
  await rm(path, { recursive: true, force: true });
}
