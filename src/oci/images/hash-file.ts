import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import type { DigestAlgorithm } from '../spec/index.ts';

/** A part of a file to hash. */
export interface HashJob {
  path: string;
  offset: number;
  size: number;
  algorithm: DigestAlgorithm;
}

const READ_SIZE = 1024 * 1024;

/** The digest of a part of a file, or of as much of it as there is. */
export function hashFile({ path, offset, size, algorithm }: HashJob): string {
  const hash = createHash(algorithm);
  const buffer = Buffer.allocUnsafeSlow(READ_SIZE);
  const fd = openSync(path, 'r');
  try {
    for (let done = 0; done < size; ) {
      const read = readSync(fd, buffer, 0, Math.min(READ_SIZE, size - done), offset + done);
      if (read === 0) break;
      hash.update(buffer.subarray(0, read));
      done += read;
    }
  } finally {
    closeSync(fd);
  }
  return `${algorithm}:${hash.digest('hex')}`;
}
