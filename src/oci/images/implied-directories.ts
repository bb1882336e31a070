import type { ByteString } from './byte-path.ts';

/** Directories of a layer without an entry of their own, and whether they look as below. */
export class ImpliedDirectories extends Map<ByteString, boolean> {
  /** A directory is gone with all that was below it. */
  forget(gone: ByteString): void {
    for (const path of [...this.keys()]) {
      if (path === gone || path.startsWith(`${gone}/`)) this.delete(path);
    }
  }

  /** A directory has another path, and so has all that is below it. */
  rename(from: ByteString, to: ByteString): void {
    for (const [path, asBelow] of [...this]) {
      if (path !== from && !path.startsWith(`${from}/`)) continue;
      this.delete(path);
      this.set(to + path.slice(from.length), asBelow);
    }
  }
}
