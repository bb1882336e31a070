import { closeSync, constants, ftruncateSync, openSync, writeSync } from 'node:fs';
import type { SystemPath } from './byte-path.ts';
import { setFileMode, setFileOwner, setFileTime, setXattrs } from './file-attributes.ts';

/** What a file is given. */
export interface FileAttributes {
  mode: number;
  uid: number;
  gid: number;
  /** Bytes, holes included. */
  size: number;
  mtime: { seconds: number; nanoseconds: number };
  xattrs: [name: string, value: Buffer][];
}

const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** A regular file of a layer while it is being written. */
export class LayerFile {
  readonly #path: SystemPath;
  readonly #attributes: FileAttributes;
  readonly #fd: number;
  #end = 0;

  /** Makes the file; nothing may have its name. */
  constructor(path: SystemPath, attributes: FileAttributes) {
    this.#path = path;
    this.#attributes = attributes;
    this.#fd = openSync(path, CREATE, attributes.mode & 0o777);
  }

  write(chunk: Buffer, start: number, end: number, position: number): void {
    for (let at = start; at < end; ) {
      at += writeSync(this.#fd, chunk, at, end - at, position + at - start);
    }
    this.#end = position + end - start;
  }

  /** Gives it its size and attributes, and closes it. */
  finish(umask: number): void {
    const { mode, size, mtime, xattrs } = this.#attributes;
    try {
      if (this.#end < size) ftruncateSync(this.#fd, size);
      setFileOwner(this.#fd, this.#attributes);
      setFileMode(this.#fd, mode, umask);
      setXattrs(this.#path, xattrs, true);
      setFileTime(this.#fd, this.#path, mtime);
    } finally {
      closeSync(this.#fd);
    }
  }

  abandon(): void {
    closeSync(this.#fd);
  }
}
