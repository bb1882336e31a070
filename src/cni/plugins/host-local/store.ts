import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf, formatIp, type Ip, KeyedLock, parseIp } from '../../../base/index.ts';
import { lockFile } from '../../../linux/index.ts';

/** To whom an address is given. */
export interface Owner {
  readonly containerId: string;
  readonly ifname: string;
}

/** What a directory held when it was last looked at, and when it was changed before that. */
interface Snapshot {
  readonly changedAt: bigint;
  /** Content by file name. */
  readonly files: Map<string, string>;
}

/** What one plugin shares among its calls. */
export class AddressStores {
  readonly turns = new KeyedLock();
  readonly snapshots = new Map<string, Snapshot>();
}

/**
 * The addresses that a network has given out, one file each, named by the address, that
 * holds the container id, CR LF and the interface name (files of old versions: the id
 * alone). The reference plugin uses the same directory in the same way, under the same
 * flock(2) lock, at the same time.
 *
 * Only while the lock is held is a store open, so that a file without content is what a
 * process that died left behind. All is done synchronously: files are few bytes and stay
 * in the page cache.
 */
export class AddressStore implements AsyncDisposable {
  readonly #directory: string;
  readonly #stores: AddressStores;
  readonly #lock: AsyncDisposable;
  readonly #turn: Disposable;
  /** Content by file name, once it is known; kept in step with changes. */
  #files: Map<string, string> | undefined;

  private constructor(
    directory: string,
    stores: AddressStores,
    held: { lock: AsyncDisposable; turn: Disposable },
  ) {
    this.#directory = directory;
    this.#stores = stores;
    this.#lock = held.lock;
    this.#turn = held.turn;
    this.#files = this.#unchanged();
  }

  /** Waits for the lock. Callers in one process take turns, which spares them the polling for it. */
  static async open(
    directory: string,
    stores: AddressStores,
    signal: AbortSignal,
  ): Promise<AddressStore> {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    const turn = await stores.turns.acquire(directory, signal);
    try {
      const lock = await lockFile(join(directory, 'lock'), 'exclusive', signal);
      return new AddressStore(directory, stores, { lock, turn });
    } catch (error) {
      turn[Symbol.dispose]();
      throw error;
    }
  }

  /** Gives an address to `owner` if it is free. Answers whether it was. */
  reserve(ip: Ip, owner: Owner, set: number): boolean {
    const name = formatIp(ip);
    if (!this.#create(join(this.#directory, name), formatOwner(owner))) return false;
    this.#files?.set(name, formatOwner(owner));
    writeFileSync(this.#lastFile(set), name, { mode: 0o600 });
    return true;
  }

  #create(path: string, content: string): boolean {
    let fd: number;
    try {
      fd = openSync(path, 'wx', 0o600);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      if (readFileSync(path, 'utf8').trim() !== '') return false;
      fd = openSync(path, 'w', 0o600);
    }
    try {
      writeSync(fd, content);
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    } finally {
      closeSync(fd);
    }
    return true;
  }

  /** The address that was last given out of a range set. */
  lastReserved(set: number): Ip | undefined {
    return parseIp(readIfExists(this.#lastFile(set)) ?? '');
  }

  /** The addresses of `owner`, including those that old versions wrote without interface. */
  addressesOf(owner: Owner): Ip[] {
    const matches = [formatOwner(owner), owner.containerId];
    this.#files ??= this.#read();
    return [...this.#files]
      .filter(([, content]) => matches.includes(content))
      .map(([name]) => parseIp(name))
      .filter((ip) => ip !== undefined);
  }

  /** Takes one address back if `owner` has it. Answers whether it had. */
  releaseOne(ip: Ip, owner: Owner): boolean {
    const path = join(this.#directory, formatIp(ip));
    if (readIfExists(path)?.trim() !== formatOwner(owner)) return false;
    this.#remove(formatIp(ip));
    return true;
  }

  /** Takes all addresses of `owner` back. */
  release(owner: Owner): void {
    this.#files = this.#read();
    const having = (content: string) =>
      [...(this.#files ?? [])].filter(([, has]) => has === content).map(([name]) => name);
    const own = having(formatOwner(owner));
    for (const name of own.length > 0 ? own : having(owner.containerId)) this.#remove(name);
  }

  /** Takes back every address whose owner `keep` does not want to have. */
  releaseUnless(keep: (owner: Owner) => boolean): void {
    this.#files = this.#read();
    for (const [name, content] of [...this.#files]) {
      const [containerId = '', ifname = ''] = content.split('\r\n');
      if (!keep({ containerId, ifname })) this.#remove(name);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#files !== undefined) {
        this.#stores.snapshots.set(this.#directory, {
          changedAt: this.#changedAt(),
          files: this.#files,
        });
      } else {
        this.#stores.snapshots.delete(this.#directory);
      }
      await this.#lock[Symbol.asyncDispose]();
    } finally {
      this.#turn[Symbol.dispose]();
    }
  }

  /**
   * What the directory held last, if it was not changed since. Clocks are coarse: another
   * process may have changed it right after. That is good enough to find who asks for an
   * address twice, but not to take addresses back.
   */
  #unchanged(): Map<string, string> | undefined {
    const snapshot = this.#stores.snapshots.get(this.#directory);
    return snapshot?.changedAt === this.#changedAt() ? snapshot.files : undefined;
  }

  #read(): Map<string, string> {
    const files = new Map<string, string>();
    for (const name of readdirSync(this.#directory)) {
      if (parseIp(name) === undefined) continue;
      const content = readIfExists(join(this.#directory, name));
      if (content !== undefined) files.set(name, content.trim());
    }
    return files;
  }

  #changedAt(): bigint {
    return statSync(this.#directory, { bigint: true }).mtimeNs;
  }

  #remove(name: string): void {
    rmSync(join(this.#directory, name), { force: true });
    this.#files?.delete(name);
  }

  #lastFile(set: number): string {
    return join(this.#directory, `last_reserved_ip.${set}`);
  }
}

function formatOwner(owner: Owner): string {
  return `${owner.containerId.trim()}\r\n${owner.ifname}`;
}

function readIfExists(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
