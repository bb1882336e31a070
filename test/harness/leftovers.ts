import { readdir, readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { detachLoop } from '../../src/linux/index.ts';
import { outputOrNothing } from './programs.ts';

/** Processes and mounts that belong to what lives in `directory`. */
export async function leftoversUnder(directory: string): Promise<string[]> {
  const processes = await processesOf(directory);
  const mounts = await mountsUnder(directory);
  return [
    ...processes.map(({ pid, command }) => `process ${pid}: ${command}`),
    ...mounts.map((target) => `mount ${target}`),
  ];
}

/** Kills these processes and takes these mounts away. */
export async function killLeftovers(directory: string): Promise<void> {
  for (const { pid } of await processesOf(directory)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended meanwhile.
    }
  }
  // Before their files are out of sight.
  for (const loop of await loopsOf(directory)) detachLoop(loop);
  const mounts = await mountsUnder(directory);
  for (const target of mounts.reverse()) {
    await outputOrNothing('umount', '-l', target);
    if (target.startsWith('/run/netns/')) await rm(target, { force: true });
  }
}

/** The loop devices of files in the directory. */
async function loopsOf(directory: string): Promise<string[]> {
  const names = (await readdir('/sys/block')).filter((name) => name.startsWith('loop'));
  const files = names.map((name) => readText(`/sys/block/${name}/loop/backing_file`));
  const found = await Promise.all(files);
  return names
    .filter((_, i) => found[i]?.startsWith(`${directory}/`))
    .map((name) => `/dev/${name}`);
}

interface Leftover {
  pid: number;
  command: string;
}

/**
 * A process is ours if its command line names the directory (monitors, runtimes), or if it
 * lives in a mount namespace of its own that has mounts from there (containers).
 */
async function processesOf(directory: string): Promise<Leftover[]> {
  const home = await readlink('/proc/self/ns/mnt');
  const found: Leftover[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^[0-9]+$/.test(name) || Number(name) === process.pid) continue;
    const command = await readText(`/proc/${name}/cmdline`);
    const namespace = await readlink(`/proc/${name}/ns/mnt`).catch(() => home);
    const inside =
      namespace !== home && usesMounts(await readText(`/proc/${name}/mountinfo`), directory);
    if (inside || command.includes(directory)) {
      found.push({ pid: Number(name), command: command.replaceAll('\0', ' ').trim() });
    }
  }
  return found;
}

/**
 * Whether mounts come from the directory and are elsewhere, as in a container. Other daemons
 * and their monitors may have copies of ours, at the same places.
 */
function usesMounts(mountinfo: string, directory: string): boolean {
  const lines = mountinfo.split('\n').filter((line) => line.includes(directory));
  return lines.some((line) => !line.split(' ')[4]?.startsWith(directory));
}

/**
 * In the order they were mounted. The daemon pins network namespaces elsewhere, by the
 * beginning of the pod's id.
 */
async function mountsUnder(directory: string): Promise<string[]> {
  const pods = [
    ...(await readdir(join(directory, 'state/sandboxes')).catch(() => [])),
    ...(await readdir(join(directory, 'state/unreadable')).catch(() => [])),
  ];
  const lines = (await readText('/proc/self/mountinfo')).split('\n');
  // proc_pid_mountinfo(5): blanks and backslashes are written as octal numbers.
  const targets = lines.map((line) =>
    (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    ),
  );
  return targets.filter((target) => {
    const [, pinned] = /^\/run\/netns\/keelson-([0-9a-f]{16})$/.exec(target) ?? [];
    if (pinned !== undefined) return pods.some((pod) => pod.includes(pinned));
    return target === directory || target.startsWith(`${directory}/`);
  });
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
