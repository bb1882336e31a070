import { readdir, readlink, statfs } from 'node:fs/promises';
import { basename } from 'node:path';
import { ifExists } from '../base/index.ts';
import { mountOf } from './mounts.ts';

/** The file system that a directory lies on. */
export interface FileSystem {
  /** What is mounted: the path of a device, or a name such as `tmpfs`. */
  device: string;
  sizeBytes: number;
  inodes: number;
  freeInodes: number;
}

/** Reads what is there of the file system that holds `directory`, which must exist. */
export async function readFileSystem(directory: string): Promise<FileSystem> {
  const { bsize, blocks, files, ffree } = await statfs(directory);
  const device = mountOf(directory)?.source ?? '';
  const exact = (count: number) => Math.min(count, Number.MAX_SAFE_INTEGER);
  return {
    device,
    sizeBytes: exact(bsize * blocks),
    inodes: exact(files),
    freeInodes: exact(ffree),
  };
}

/** The device file of a block device, such as `/dev/sda`; undefined if there is no such device. */
export async function blockDevicePath(major: number, minor: number): Promise<string | undefined> {
  const target = await ifExists(readlink(`/sys/dev/block/${major}:${minor}`));
  return target === undefined ? undefined : `/dev/${basename(target).replaceAll('!', '/')}`;
}

/** The sizes of huge pages that this kernel knows, as cgroup files name them, such as `2MB`. */
export async function hugepageSizes(directory = '/sys/kernel/mm/hugepages'): Promise<string[]> {
  const names = (await ifExists(readdir(directory))) ?? [];
  return names.flatMap((name) => {
    const kilobytes = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1]);
    if (!(kilobytes > 0)) return [];
    // mem_fmt of mm/hugetlb_cgroup.c: whole gigabytes, else whole megabytes, else kilobytes.
    if (kilobytes >= 1 << 20) return `${kilobytes >> 20}GB`;
    return kilobytes >= 1 << 10 ? `${kilobytes >> 10}MB` : `${kilobytes}KB`;
  });
}
