import { once } from 'node:events';
import { createReadStream, type Stats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type Header, type Pack, pack } from 'tar-stream';

type EntryHeader = Partial<Header> & Pick<Header, 'name'>;

/**
 * An archive of a file, or of a directory with all below it, under another name. Links stay
 * links; what is neither file, directory nor link is left out and told.
 */
export function packTree(path: string, name: string, onSkip: (path: string) => void): Readable {
  const archive = pack();
  add(archive, path, name, onSkip).then(
    () => void archive.finalize(),
    (error: Error) => void archive.destroy(error),
  );
  return Readable.from(archive, { objectMode: false });
}

async function add(
  archive: Pack,
  path: string,
  name: string,
  onSkip: (path: string) => void,
): Promise<void> {
  const stats = await lstat(path);
  if (stats.isDirectory()) {
    await addEntry(archive, { ...common(stats, name), type: 'directory' });
    for (const child of (await readdir(path)).sort()) {
      await add(archive, join(path, child), `${name}/${child}`, onSkip);
    }
  } else if (stats.isSymbolicLink()) {
    const linkname = await readlink(path);
    await addEntry(archive, { ...common(stats, name), type: 'symlink', linkname });
  } else if (stats.isFile()) {
    await addFile(archive, path, { ...common(stats, name), size: stats.size });
  } else {
    onSkip(path);
  }
}

/** A file that grows meanwhile is cut at the size that was told; one that shrinks is an error. */
async function addFile(archive: Pack, path: string, header: EntryHeader): Promise<void> {
  const written = Promise.withResolvers<void>();
  const entry = archive.entry(header, (error) =>
    error ? written.reject(error) : written.resolve(),
  );
  if (header.size) {
    for await (const chunk of createReadStream(path, { end: header.size - 1 })) {
      if (!entry.write(chunk as Buffer)) await once(entry, 'drain');
    }
  }
  entry.end(undefined);
  await written.promise;
}

function common(stats: Stats, name: string): EntryHeader {
  return { name, mode: stats.mode & 0o7777, mtime: stats.mtime, uid: stats.uid, gid: stats.gid };
}

function addEntry(archive: Pack, header: EntryHeader): Promise<void> {
  return new Promise((resolve, reject) => {
    archive.entry(header, '', (error) => (error ? reject(error) : resolve()));
  });
}
