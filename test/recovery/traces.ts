import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Daemon, leftoversUnder } from '../harness/index.ts';

/**
 * All that there is of these pods and containers on the machine, wherever a path, a mount, a
 * process, a lease or a firewall rule names one of them. Their logs may stay.
 */
export async function tracesOf(daemon: Daemon, ids: Iterable<string>): Promise<string[]> {
  // Names that must be short have the beginning of the id.
  const marks = [...ids].map((id) => id.slice(0, 16));
  const named = (text: string) => marks.some((mark) => text.includes(mark));
  return (await stockOf(daemon)).filter(named);
}

/** All that a daemon and its pods keep: two lists are the same if nothing came or went between. */
export async function stockOf(daemon: Daemon): Promise<string[]> {
  const leases = join(daemon.paths.leases, daemon.network?.name ?? '');
  const parts = await Promise.all([
    pathsUnder('/run/netns'),
    pathsUnder('/sys/fs/cgroup', true),
    pathsUnder(daemon.paths.state),
    pathsUnder(join(daemon.paths.root, 'containers')),
    pathsUnder(join(daemon.paths.root, 'cni')),
    pathsUnder(join(daemon.directory, 'cni-cache')),
    contents(leases),
    leftoversUnder(daemon.directory),
    daemon.network?.leftovers() ?? [],
  ]);
  return parts.flat();
}

/** Ids of all pods and containers that have a record on the disk. */
export async function recordedIds({ paths }: Daemon): Promise<string[]> {
  const kinds = ['sandboxes', 'containers'];
  const parts = await Promise.all(
    kinds.map((kind) => readdir(join(paths.state, kind)).catch(() => [])),
  );
  return parts.flat();
}

/** Stops at file systems that are mounted there: what they hold is not the daemon's. */
async function pathsUnder(directory: string, onlyDirectories = false): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  const parts = await Promise.all(
    entries.map(async (entry) => {
      const path = join(directory, entry.name);
      if (!entry.isDirectory()) return onlyDirectories ? [] : [path];
      if (entry.name === 'rootfs' || entry.name === 'merged') return [path];
      return [path, ...(await pathsUnder(path, onlyDirectories))];
    }),
  );
  return parts.flat();
}

/** Addresses with whom they were leased to. */
async function contents(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch(() => []);
  const addresses = names.filter((name) => /^[0-9]+\./.test(name));
  return Promise.all(
    addresses.map(
      async (name) => `lease ${name}: ${await readFile(join(directory, name), 'utf8')}`,
    ),
  );
}
