import { readdir, readFile } from 'node:fs/promises';
import { type Logger, sleep } from '../../base/index.ts';
import { identifyProcess, type ProcessId, signalProcess } from '../../linux/index.ts';

/** Milliseconds for which killed processes are waited for. */
const PATIENCE = 5_000;

/**
 * Kills the plugin programs that a daemon left running when it died. They would go on
 * making what the next daemon takes away. Programs are known by their environment, which
 * what they start inherits: CNI_COMMAND, and CNI_CONTAINERID with one of these ids.
 */
export async function killOrphanedPlugins(
  containerIds: ReadonlySet<string>,
  logger: Logger,
): Promise<void> {
  const end = performance.now() + PATIENCE;
  // Again until there are none: one may have started another meanwhile.
  while (containerIds.size > 0 && performance.now() < end) {
    const orphans = await findPlugins(containerIds);
    if (orphans.length === 0) return;
    for (const { target, containerId } of orphans) {
      if (!signalProcess(target, 'SIGKILL')) continue;
      logger.warn({ pid: target.pid, sandbox: containerId }, 'killed an orphaned CNI plugin');
    }
    await sleep(10);
  }
}

interface Orphan {
  target: ProcessId;
  containerId: string;
}

async function findPlugins(containerIds: ReadonlySet<string>): Promise<Orphan[]> {
  const found: Orphan[] = [];
  for (const name of await readdir('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const target = identifyProcess(pid);
    const containerId = await containerOf(pid);
    if (target === undefined || containerId === undefined || !containerIds.has(containerId))
      continue;
    found.push({ target, containerId });
  }
  return found;
}

/** The container that a plugin program works for, undefined for other processes. */
async function containerOf(pid: number): Promise<string | undefined> {
  const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
  const variables = environment.split('\0');
  if (!variables.some((variable) => variable.startsWith('CNI_COMMAND='))) return undefined;
  const prefix = 'CNI_CONTAINERID=';
  return variables.find((variable) => variable.startsWith(prefix))?.slice(prefix.length);
}
