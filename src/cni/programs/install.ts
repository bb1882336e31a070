import { lstat, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ifExists, KeelsonError, writeFileAtomic } from '../../base/index.ts';
import { isLauncher, LARGEST_LAUNCHER, launcherText } from './launcher.ts';
import { PROGRAM_TYPES } from './plugin-modules.ts';

/**
 * Writes a launcher for each built-in plugin into a directory, which is made if need be,
 * and answers their paths. Launchers that are there are replaced. Fails with
 * ALREADY_EXISTS, having written nothing, if there are other files of these names, unless
 * `force` has them replaced too.
 */
export async function installLaunchers(
  directory: string,
  options: { force?: boolean } = {},
): Promise<string[]> {
  const paths = PROGRAM_TYPES.map((type) => join(directory, type));
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const foreign: string[] = [];
  for (const path of paths) {
    if ((await kindOf(path)) === 'foreign') foreign.push(path);
  }
  if (foreign.length > 0 && options.force !== true) {
    throw new KeelsonError('ALREADY_EXISTS', `Cannot install CNI plugins into "${directory}"`, {
      reason: `${foreign.map((path) => `"${path}"`).join(', ')} would be replaced`,
      hint: 'use --force if that is wanted',
    });
  }
  const text = launcherText();
  for (const path of paths) await writeFileAtomic(path, text, { mode: 0o755 });
  return paths;
}

/** Removes the launchers of a directory, whichever Keelson wrote them, and answers their paths. */
export async function uninstallLaunchers(directory: string): Promise<string[]> {
  const removed: string[] = [];
  for (const path of PROGRAM_TYPES.map((type) => join(directory, type))) {
    if ((await kindOf(path)) !== 'launcher') continue;
    await rm(path, { force: true });
    removed.push(path);
  }
  return removed;
}

async function kindOf(path: string): Promise<'absent' | 'launcher' | 'foreign'> {
  const file = await ifExists(lstat(path));
  if (file === undefined) return 'absent';
  if (!file.isFile() || file.size > LARGEST_LAUNCHER) return 'foreign';
  return isLauncher(await readFile(path, 'utf8')) ? 'launcher' : 'foreign';
}
