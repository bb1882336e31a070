import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf, formatIp, type Ip, type KeyedLock, parseIp } from '../../../base/index.ts';
import { lockFile } from '../../../linux/index.ts';

/** To whom an address is given. */
export interface Owner {
  readonly containerId: string;
  readonly ifname: string;
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
  readonly #lock: AsyncDisposable;
  readonly #turn: Disposable;

  private constructor(directory: string, lock: AsyncDisposable, turn: Disposable) {
    this.#directory = directory;
    this.#lock = lock;
    this.#turn = turn;
  }

  /** Waits for the lock. `turns` spares callers in one process the polling for it. */
  static async open(
    directory: string,
    turns: KeyedLock,
    signal: AbortSignal,
  ): Promise<AddressStore> {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    const turn = await turns.acquire(directory, signal);
    try {
      const lock = await lockFile(join(directory, 'lock'), 'exclusive', signal);
      return new AddressStore(directory, lock, turn);
    } catch (error) {
      turn[Symbol.dispose]();
      throw error;
    }
  }

  /** Gives an address to `owner` if it is free. Answers whether it was. */
  reserve(ip: Ip, owner: Owner, set: number): boolean {
    const name = formatIp(ip);
    if (!this.#create(join(this.#directory, name), formatOwner(owner))) return false;
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
    return [...this.#entries()]
      .filter(({ content }) => matches.includes(content))
      .map(({ ip }) => ip);
  }

  /** Takes one address back if `owner` has it. Answers whether it had. */
  releaseOne(ip: Ip, owner: Owner): boolean {
    const path = join(this.#directory, formatIp(ip));
    if (readIfExists(path)?.trim() !== formatOwner(owner)) return false;
    rmSync(path, { force: true });
    return true;
  }

  /** Takes all addresses of `owner` back. */
  release(owner: Owner): void {
    const entries = [...this.#entries()];
    const own = entries.filter(({ content }) => content === formatOwner(owner));
    const old = entries.filter(({ content }) => content === owner.containerId);
    for (const { ip } of own.length > 0 ? own : old) this.#remove(ip);
  }

  /** Takes back every address whose owner `keep` does not want to have. */
  releaseUnless(keep: (owner: Owner) => boolean): void {
    for (const { ip, content } of [...this.#entries()]) {
      const [containerId = '', ifname = ''] = content.split('\r\n');
      if (!keep({ containerId, ifname })) this.#remove(ip);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#lock[Symbol.asyncDispose]();
    } finally {
      this.#turn[Symbol.dispose]();
    }
  }

  *#entries(): Generator<{ ip: Ip; content: string }> {
    for (const name of readdirSync(this.#directory)) {
      const ip = parseIp(name);
      if (ip === undefined) continue;
      const content = readIfExists(join(this.#directory, name));
      if (content !== undefined) yield { ip, content: content.trim() };
    }
  }

  #remove(ip: Ip): void {
    rmSync(join(this.#directory, formatIp(ip)), { force: true });
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
