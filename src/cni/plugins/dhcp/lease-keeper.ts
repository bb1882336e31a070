import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { ifExists, readTextIfExists, withTimeout, writeFileAtomic } from '../../../base/index.ts';
import { changeLink, NetworkNamespace } from '../../../linux/index.ts';
import { DhcpClient } from './client.ts';
import type { Lease } from './lease.ts';

/** Of a lease, all that is needed to renew it after a restart. */
export interface LeaseRecord {
  readonly network: string;
  readonly containerId: string;
  readonly ifname: string;
  readonly netns: string;
  /** Options of each message: number, and value in hexadecimal. */
  readonly options: readonly (readonly [number, string])[];
  readonly lease: Lease;
}

interface Kept {
  record: LeaseRecord;
  readonly stop: AbortController;
  /** Resolves when nothing is done for it any more. */
  ended: Promise<void>;
}

/** Milliseconds until a renewal that failed is tried again. */
const RETRY = 60_000;
/** Milliseconds that timers can hold; leases may be for ever. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * Keeps leases by renewing them, as long as this process lives; the next one goes on
 * with the records that it finds. A lease that cannot be kept takes its interface down.
 */
export class LeaseKeeper {
  readonly #directory: string;
  readonly #kept = new Map<string, Kept>();
  #adopted: Promise<void> | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Goes on with the leases of an earlier process. Does so once. */
  adopt(): Promise<void> {
    this.#adopted ??= this.#adoptAll();
    return this.#adopted;
  }

  find(owner: Pick<LeaseRecord, 'network' | 'containerId' | 'ifname'>): LeaseRecord | undefined {
    return this.#kept.get(keyOf(owner))?.record;
  }

  all(): LeaseRecord[] {
    return [...this.#kept.values()].map(({ record }) => record);
  }

  async keep(record: LeaseRecord): Promise<void> {
    await this.#write(record);
    this.#start(record);
  }

  /** Gives a lease back to the server, if the interface is still there. */
  async drop(record: LeaseRecord): Promise<void> {
    const key = keyOf(record);
    const kept = this.#kept.get(key);
    kept?.stop.abort();
    await kept?.ended;
    this.#kept.delete(key);
    const pod = openIfExists(record.netns);
    if (pod !== undefined) {
      using open = pod;
      await clientOf(open, record).release((kept?.record ?? record).lease);
    }
    await rm(this.#path(key), { force: true });
  }

  async #adoptAll(): Promise<void> {
    for (const name of (await ifExists(readdir(this.#directory))) ?? []) {
      if (!name.endsWith('.json')) continue;
      const record = parseRecord(await readTextIfExists(join(this.#directory, name)));
      const alive = record !== undefined && openIfExists(record.netns);
      if (!alive) {
        await rm(join(this.#directory, name), { force: true });
        continue;
      }
      alive[Symbol.dispose]();
      this.#start(record);
    }
  }

  #start(record: LeaseRecord): void {
    const kept: Kept = { record, stop: new AbortController(), ended: Promise.resolve() };
    this.#kept.set(keyOf(record), kept);
    kept.ended = this.#maintain(kept).catch(() => {});
  }

  async #maintain(kept: Kept): Promise<void> {
    const { signal } = kept.stop;
    for (;;) {
      await until(kept.record.lease.renewAt, signal);
      const renewed = await this.#renewInTime(kept, signal);
      if (renewed === undefined) return takeDown(kept.record);
      // Without its record the lease is another process's to keep, or nobody's.
      if (!existsSync(this.#path(keyOf(kept.record)))) return;
      kept.record = { ...kept.record, lease: renewed };
      await this.#write(kept.record);
    }
  }

  /** Asks the server to keep the lease, later any server for the same one, until it is over. */
  async #renewInTime({ record }: Kept, signal: AbortSignal): Promise<Lease | undefined> {
    const { lease } = record;
    while (Date.now() < lease.expireAt) {
      const rebinding = Date.now() >= lease.rebindAt;
      const deadline = rebinding ? lease.expireAt : lease.rebindAt;
      const pod = openIfExists(record.netns);
      if (pod === undefined) throw new Error('the namespace is gone');
      try {
        using open = pod;
        const client = clientOf(open, record);
        const inTime = withTimeout(signal, Math.min(deadline - Date.now(), LONGEST_TIMER));
        if (!rebinding) return await client.renew(lease, inTime);
        const other = await client.acquire(inTime);
        // The container has the old address: another one is of no use.
        if (other.address === lease.address) return other;
        await client.release(other);
      } catch (error) {
        if (signal.aborted) throw error;
      }
      await until(Math.min(Date.now() + RETRY, deadline), signal);
    }
    return undefined;
  }

  async #write(record: LeaseRecord): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    await writeFileAtomic(this.#path(keyOf(record)), JSON.stringify(record));
  }

  #path(key: string): string {
    return join(this.#directory, `${key}.json`);
  }
}

function clientOf(pod: NetworkNamespace, { ifname, options }: LeaseRecord): DhcpClient {
  const decoded = new Map(options.map(([code, hex]) => [code, Buffer.from(hex, 'hex')]));
  return new DhcpClient(pod, ifname, decoded);
}

async function takeDown(record: LeaseRecord): Promise<void> {
  const pod = openIfExists(record.netns);
  if (pod === undefined) return;
  using open = pod;
  const link = await open.findLink(record.ifname);
  if (link !== undefined) await open.change(changeLink(link.index, { up: false }));
}

function openIfExists(netns: string): NetworkNamespace | undefined {
  try {
    return NetworkNamespace.open(netns);
  } catch {
    return undefined;
  }
}

function keyOf(owner: Pick<LeaseRecord, 'network' | 'containerId' | 'ifname'>): string {
  const text = JSON.stringify([owner.network, owner.containerId, owner.ifname]);
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

/** Only this plugin writes records; one that was cut or is of another version is none. */
function parseRecord(text: string | undefined): LeaseRecord | undefined {
  try {
    const record = JSON.parse(text ?? '') as LeaseRecord;
    const complete =
      typeof record.netns === 'string' &&
      typeof record.lease.expireAt === 'number' &&
      Array.isArray(record.options);
    return complete ? record : undefined;
  } catch {
    return undefined;
  }
}

/** Waits for a moment, however far. Does not keep the process alive. */
async function until(moment: number, signal: AbortSignal): Promise<void> {
  do {
    const rest = Math.max(0, moment - Date.now());
    await setTimeout(Math.min(rest, LONGEST_TIMER), undefined, { signal, ref: false });
  } while (Date.now() < moment);
}
