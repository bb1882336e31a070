import type { Stats } from 'node:fs';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Headers, type Pack, pack } from 'tar-stream';

/**
 * An archive of a file, or of a directory with all below it, under another name. Links stay
 * links; what is neither file, directory nor link is left out and told.
 */
export function packTree(path: string, name: string, onSkip: (path: string) => void): Readable {
  const archive = pack();
  add(archive, path, name, onSkip).then(
    () => archive.finalize(),
    (error: Error) => archive.destroy(error),
  );
  return archive;
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
    const entry = archive.entry({ ...common(stats, name), size: stats.size });
    // A file that grows meanwhile is cut at the size that was told.
    const source = stats.size === 0 ? undefined : createReadStream(path, { end: stats.size - 1 });
    if (source === undefined) entry.end();
    else await pipeline(source, entry);
  } else {
    onSkip(path);
  }
}

function common(stats: Stats, name: string): Headers {
  return { name, mode: stats.mode & 0o7777, mtime: stats.mtime, uid: stats.uid, gid: stats.gid };
}

function addEntry(archive: Pack, headers: Headers): Promise<void> {
  return new Promise((resolve, reject) => {
    archive.entry(headers, (error) => (error ? reject(error) : resolve()));
  });
}
