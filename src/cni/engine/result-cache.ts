import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ifExists,
  KeelsonError,
  type Logger,
  messageOf,
  readTextIfExists,
  writeFileAtomic,
} from '../../base/index.ts';
import {
  CNI_ERROR,
  type CniResult,
  type CniVersion,
  compact,
  formatResult,
  JsonReader,
  OLDEST_VERSION,
  parseJson,
  parseResult,
} from '../spec/index.ts';
import { type Attachment, attachmentFileName, readPair } from './attachment.ts';

/** How libcni marks the form of its cache files. */
const KIND = 'cniCacheV1';

/** The files of `writeFileAtomic` before they get their name. */
const TEMPORARY = /\.[0-9a-f]{12}\.tmp$/;

/** An attachment as the cache remembers it: what was asked for, and what came of it. */
export interface CachedAttachment extends Attachment {
  network: string;
  /** The network configuration as JSON text. */
  config: string;
  result?: CniResult;
}

/**
 * Results of ADD, kept for DEL, CHECK and GC. Files have libcni's place and form, so that
 * cnitool and other runtimes find what Keelson made, and the other way round.
 */
export class ResultCache {
  readonly #directory: string;
  readonly #logger: Logger;

  /** Files are in the directory `results` of `cacheDir`. */
  constructor(cacheDir: string, logger: Logger) {
    this.#directory = join(cacheDir, 'results');
    this.#logger = logger;
  }

  async write(entry: CachedAttachment & { result: CniResult }, version: CniVersion): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const content = compact({
      kind: KIND,
      containerId: entry.containerId,
      config: Buffer.from(entry.config).toString('base64'),
      ifName: entry.ifname,
      networkName: entry.network,
      netns: entry.netns || undefined,
      cniArgs: entry.args.length === 0 ? undefined : entry.args,
      capabilityArgs:
        Object.keys(entry.capabilityArgs).length === 0 ? undefined : entry.capabilityArgs,
      result: formatResult(entry.result, version),
    });
    await writeFileAtomic(this.#path(entry.network, entry), JSON.stringify(content));
  }

  /**
   * Undefined when there is nothing, or nothing readable: a DEL must succeed without.
   * `version` is that of a result which does not say its own.
   */
  async read(
    network: string,
    attachment: Pick<Attachment, 'containerId' | 'ifname'>,
    version: CniVersion = OLDEST_VERSION,
  ): Promise<CachedAttachment | undefined> {
    return this.#readFile(this.#path(network, attachment), { network, version, ...attachment });
  }

  /** As `read`, but fails where there is something that cannot be read: CHECK compares with it. */
  async readStrictly(
    network: string,
    attachment: Pick<Attachment, 'containerId' | 'ifname'>,
    version: CniVersion,
  ): Promise<CachedAttachment | undefined> {
    return parseFile(this.#path(network, attachment), { network, version, ...attachment });
  }

  async remove(
    network: string,
    attachment: Pick<Attachment, 'containerId' | 'ifname'>,
  ): Promise<void> {
    await rm(this.#path(network, attachment), { force: true });
  }

  /** All attachments, of whichever runtime, or those of one container. Files that cannot be read are left out. */
  async list(containerId = ''): Promise<CachedAttachment[]> {
    const names = (await ifExists(readdir(this.#directory))) ?? [];
    const entries: CachedAttachment[] = [];
    for (const name of names) {
      if (name.endsWith('.tmp') || !name.includes(containerId)) continue;
      const entry = await this.#readFile(join(this.#directory, name));
      if (entry === undefined || (containerId !== '' && entry.containerId !== containerId))
        continue;
      entries.push(entry);
    }
    return entries;
  }

  /**
   * Removes what processes left that died while writing. Nobody may be writing meanwhile:
   * the files of a write under way have the same form.
   */
  async sweep(): Promise<void> {
    const names = (await ifExists(readdir(this.#directory))) ?? [];
    for (const name of names) {
      if (TEMPORARY.test(name)) await rm(join(this.#directory, name), { force: true });
    }
  }

  #path(network: string, attachment: Pick<Attachment, 'containerId' | 'ifname'>): string {
    return join(this.#directory, attachmentFileName(network, attachment));
  }

  async #readFile(path: string, expected?: Expected): Promise<CachedAttachment | undefined> {
    try {
      return await parseFile(path, expected);
    } catch (error) {
      this.#logger.warn({ path, error }, `ignoring a cached result: ${messageOf(error)}`);
      return undefined;
    }
  }
}

interface Expected {
  network: string;
  containerId: string;
  ifname: string;
  version: CniVersion;
}

async function parseFile(
  path: string,
  expected: Expected | undefined,
): Promise<CachedAttachment | undefined> {
  const text = await readTextIfExists(path);
  if (text === undefined) return undefined;
  const what = `Cached result "${path}"`;
  return parseEntry(parseJson(text, what), what, expected);
}

function parseEntry(
  json: unknown,
  what: string,
  expected: Expected | undefined,
): CachedAttachment | undefined {
  const reader = new JsonReader(json, what, CNI_ERROR.DECODING_FAILURE);
  const version = expected?.version ?? OLDEST_VERSION;
  if (reader.get('kind')?.value !== KIND) {
    // Before the cache had a form, the bare result stood in the file.
    if (expected === undefined) return undefined;
    const { network, containerId, ifname } = expected;
    return {
      ...{ network, containerId, ifname },
      ...{ config: '', netns: '', args: [], capabilityArgs: {} },
      result: parseResult(reader.value, version, what),
    };
  }
  const entry: CachedAttachment = {
    network: reader.required('networkName').string(),
    containerId: reader.required('containerId').string(),
    ifname: reader.required('ifName').string(),
    config: Buffer.from(reader.get('config')?.string() ?? '', 'base64').toString(),
    netns: reader.get('netns')?.string() ?? '',
    args: (reader.get('cniArgs')?.items() ?? []).map(readPair),
    capabilityArgs: reader.get('capabilityArgs')?.record() ?? {},
  };
  if (expected !== undefined && !isSame(entry, expected)) {
    throw new KeelsonError('DATA_LOSS', what, { reason: 'it is about another attachment' });
  }
  const result = reader.get('result')?.value;
  return result === undefined ? entry : { ...entry, result: parseResult(result, version, what) };
}

function isSame(entry: CachedAttachment, expected: Expected): boolean {
  return (
    entry.network === expected.network &&
    entry.containerId === expected.containerId &&
    entry.ifname === expected.ifname
  );
}
