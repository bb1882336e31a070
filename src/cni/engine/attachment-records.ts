import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ifExists,
  type Logger,
  messageOf,
  readTextIfExists,
  writeFileAtomic,
} from '../../base/index.ts';
import {
  CNI_ERROR,
  checkContainerId,
  JsonReader,
  type NetworkList,
  parseNetworkList,
} from '../spec/index.ts';
import { type Attachment, readPair } from './attachment.ts';

/** One network of a container, and all that its plugins are told. */
export interface PlannedAttachment {
  list: NetworkList;
  attachment: Attachment;
}

/** A container that this daemon attached, or began to attach, to networks. */
export interface AttachmentRecord {
  containerId: string;
  /** In the order of ADD. */
  networks: readonly PlannedAttachment[];
}

/**
 * What this daemon attached: written before the first ADD, removed after the last DEL.
 * The result cache cannot take its place, because other runtimes have theirs in it too
 * and because it has nothing of an ADD that was cut off. Addresses given out outlive a
 * boot, so the directory must, too.
 */
export class AttachmentRecords {
  readonly #directory: string;
  readonly #logger: Logger;

  constructor(stateDir: string, logger: Logger) {
    this.#directory = join(stateDir, 'attachments');
    this.#logger = logger;
  }

  async write(record: AttachmentRecord): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const content = record.networks.map(({ list, attachment }) => ({
      ...attachment,
      config: list.source,
    }));
    await writeFileAtomic(this.#path(record.containerId), JSON.stringify(content));
  }

  /** Undefined when there is none. One that cannot be read is set aside and reported. */
  async read(containerId: string): Promise<AttachmentRecord | undefined> {
    checkContainerId(containerId);
    const path = this.#path(containerId);
    const text = await readTextIfExists(path);
    if (text === undefined) return undefined;
    try {
      return { containerId, networks: parseRecord(text, `Attachment record "${path}"`) };
    } catch (error) {
      await rename(path, `${path}.unreadable`);
      this.#logger.error({ path, containerId, error }, `set aside: ${messageOf(error)}`);
      return undefined;
    }
  }

  async remove(containerId: string): Promise<void> {
    await rm(this.#path(containerId), { force: true });
  }

  /** Removes what a daemon left that died while writing. */
  async sweep(): Promise<void> {
    const names = (await ifExists(readdir(this.#directory))) ?? [];
    for (const name of names) {
      if (name.endsWith('.tmp')) await rm(join(this.#directory, name), { force: true });
    }
  }

  /** The ids of all containers that have a record. */
  async list(): Promise<string[]> {
    const names = (await ifExists(readdir(this.#directory))) ?? [];
    return names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -5));
  }

  #path(containerId: string): string {
    return join(this.#directory, `${containerId}.json`);
  }
}

function parseRecord(text: string, what: string): PlannedAttachment[] {
  const reader = new JsonReader(JSON.parse(text), what, CNI_ERROR.DECODING_FAILURE);
  return reader.items().map((network) => ({
    list: parseNetworkList(JSON.parse(network.required('config').string()), what),
    attachment: {
      containerId: network.required('containerId').string(),
      netns: network.required('netns').string(),
      ifname: network.required('ifname').string(),
      args: network.required('args').items().map(readPair),
      capabilityArgs: network.required('capabilityArgs').record(),
    },
  }));
}
