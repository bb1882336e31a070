import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { output } from '../test/harness/index.ts';

/**
 * Makes a file system in a file, mounts it, and lets all that is made from now on in the
 * directory for temporary files lie there.
 *
 * What is measured is then the same everywhere: ext4 as mkfs.ext4 makes it. The disk of a
 * virtual machine may have no journal, and such an ext4 does not use an inode again that
 * was freed within the last minute: after the removal of 20,000 files, making each of as
 * many new ones takes it some 200 microseconds of search, which no first pull meets.
 */
export async function ownDisk(gigabytes: number): Promise<AsyncDisposable> {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-disk-'));
  const [file, mounted] = [join(directory, 'disk'), join(directory, 'd')];
  await mkdir(mounted);
  await output('truncate', '-s', `${gigabytes}G`, file);
  await output('mkfs.ext4', '-q', '-F', file);
  await output('mount', '-o', 'loop', file, mounted);
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = mounted;
  return {
    async [Symbol.asyncDispose]() {
      if (before === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = before;
      await output('umount', mounted);
      await rm(directory, { recursive: true, force: true });
    },
  };
}
