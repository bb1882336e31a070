// What a launcher starts: `plugin-process.ts TYPE` is the CNI plugin of that type.
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

// Not below the temporary directory, Node's own choice: what lies there others may have put.
enableCompileCache(join(homedir(), '.cache', 'keelson', 'compiled'));
const { servePlugin } = await import('../kit/serve-plugin.ts');
const { LauncherDelegates } = await import('./launcher-delegates.ts');
const { loadPlugin, PROGRAM_TYPES } = await import('./plugin-modules.ts');

const type = process.argv[2] ?? '';
const plugin = await loadPlugin(type);
if (plugin === undefined) {
  const msg = `Keelson has no CNI plugin ${JSON.stringify(type)}, only ${PROGRAM_TYPES.join(', ')}`;
  process.stdout.write(`${JSON.stringify({ cniVersion: '1.0.0', code: 4, msg })}\n`);
  process.exitCode = 1;
} else {
  await servePlugin({ ...plugin, about: `CNI ${type} plugin of Keelson` }, new LauncherDelegates());
}
