import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Logger, readTextIfExists } from '../base/index.ts';
import { bootId, listMounts, unmountAll } from '../linux/index.ts';

/**
 * What the state directory holds that means nothing after a reboot. The stamp itself stays
 * until it is replaced: deleting that is cut short goes on at the next start.
 */
const DIES_WITH_BOOT = ['sandboxes', 'containers', 'exits', 'unreadable', 'dhcp'];

/**
 * Where `/run` is not a tmpfs, state outlives the boot that it belongs to: its processes,
 * mounts and namespaces are gone, and its pids may be anybody's. It is deleted.
 */
export async function discardOtherBoot(stateDirectory: string, logger: Logger): Promise<void> {
  const stamp = await readTextIfExists(join(stateDirectory, 'boot-id'));
  if (stamp === undefined || stamp === (await bootId())) return;
  const stale = (await readdir(stateDirectory)).filter((name) => DIES_WITH_BOOT.includes(name));
  for (const name of stale) await discard(join(stateDirectory, name));
  logger.info({ stateDirectory }, 'discarded the state of an earlier boot');
}

async function discard(directory: string): Promise<void> {
  // A reboot leaves none; but if only the stamp was damaged, they must not stop the daemon.
  const mounts = listMounts().filter(({ target }) => target.startsWith(`${directory}/`));
  for (const { target } of mounts.reverse()) unmountAll(target);
  await rm(directory, { recursive: true, force: true });
}
