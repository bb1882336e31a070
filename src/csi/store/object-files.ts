import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import {
  ifExists,
  KeelsonError,
  type Logger,
  messageOf,
  syncDirectory,
  writeFileAtomic,
} from '../../base/index.ts';
import { KINDS, type Kind, parseObject, type Stored } from '../objects/index.ts';

/** Characters of a name that a file is called by; file names end at 255 bytes. */
const LONGEST = 180;

export interface ObjectFile {
  kind: Kind;
  path: string;
  reason: string;
}

/**
 * Objects as files: `KIND/NAME.json`, `KIND/NAMESPACE/NAME.json`. Files are replaced as a
 * whole and flushed before they get their name, so that a crash leaves the old or the new.
 */
export class ObjectFiles {
  readonly #directory: string;
  readonly #logger: Logger;
  readonly unreadable: ObjectFile[] = [];

  constructor(directory: string, logger: Logger) {
    this.#directory = directory;
    this.#logger = logger;
  }

  async load(): Promise<Stored[]> {
    const objects: Stored[] = [];
    for (const kind of KINDS) {
      const top = join(this.#directory, kind);
      await mkdir(top, { recursive: true, mode: 0o700 });
      for (const entry of await readdir(top, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile()) continue;
        const path = join(entry.parentPath, entry.name);
        const object = await this.#read(kind, path);
        if (object !== undefined) objects.push(object);
      }
    }
    return objects;
  }

  async write(object: Stored): Promise<void> {
    const path = this.#pathOf(object);
    const made = await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    if (made !== undefined) await syncDirectory(dirname(made));
    await writeFileAtomic(path, JSON.stringify(object), { durable: true });
  }

  async remove(object: Stored): Promise<void> {
    const path = this.#pathOf(object);
    await rm(path, { force: true });
    await syncDirectory(dirname(path));
  }

  async #read(kind: Kind, path: string): Promise<Stored | undefined> {
    // A write that a crash cut off before the file had its name.
    if (path.endsWith('.tmp')) return void (await rm(path, { force: true }));
    try {
      const object = parseObject(kind, JSON.parse(await readFile(path, 'utf8'))) as Stored;
      const { uid, resourceVersion } = object.metadata;
      if (uid === undefined || !(Number(resourceVersion) > 0) || path !== this.#pathOf(object)) {
        throw new KeelsonError('DATA_LOSS', `Cannot use "${path}"`, {
          reason: 'it is not what was written there',
        });
      }
      return object;
    } catch (error) {
      await this.#setAside(kind, path, messageOf(error));
      return undefined;
    }
  }

  async #setAside(kind: Kind, path: string, reason: string): Promise<void> {
    const directory = join(this.#directory, 'unreadable');
    const aside = join(directory, `${kind}-${Date.now()}-${basename(path).slice(-LONGEST)}`);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await ifExists(rename(path, aside));
    this.unreadable.push({ kind, path: aside, reason });
    this.#logger.error({ kind, path, aside, reason }, 'a volume object is unreadable: set aside');
  }

  #pathOf({ kind, metadata }: Stored): string {
    const { name } = metadata;
    const namespace = 'namespace' in metadata ? metadata.namespace : undefined;
    const file = name.length <= LONGEST ? name : `${name.slice(0, LONGEST)}~${hash(name)}`;
    return join(this.#directory, kind, namespace ?? '', `${file}.json`);
  }
}

function hash(name: string): string {
  return createHash('sha256').update(name).digest('hex').slice(0, 16);
}
