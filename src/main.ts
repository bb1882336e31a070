#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';

// In Node 24 this collection may free code twice where threads come and go, and aborts the
// process (nodejs/node#66366). Little is left behind: only Node's own parsers are WebAssembly.
setFlagsFromString('--no-wasm-code-gc');
// The launcher has said where; what is run by Keelson need not know. Never below the
// temporary directory, Node's own choice: what lies there others may have put.
enableCompileCache(join(homedir(), '.cache', 'keelson', 'compiled'));
delete process.env['NODE_COMPILE_CACHE'];
const { runCli } = await import('./cli/index.ts');

const end = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    // Asked twice: the way out that takes time is not wanted.
    if (end.signal.aborted) process.exit(130);
    end.abort(signal);
  });
}
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader, such as "head", has seen enough: as if the user had interrupted.
  if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') throw error;
  end.abort('EPIPE');
});

process.exitCode = await runCli(process.argv.slice(2), {
  version: ownVersion(),
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: end.signal,
  serve: async (config, signal) => {
    const { runDaemon } = await import('./daemon.ts');
    await runDaemon({ config, version: ownVersion(), signal });
    // Nothing of it is left but, perhaps, requests to a collector of spans that hangs.
    process.exit();
  },
  builtinPlugins: async () => {
    const { builtinPlugins } = await import('./cni/index.ts');
    return builtinPlugins().map(({ type }) => type);
  },
  cniTool: async (settings) => {
    const { cniTool } = await import('./cni-tool.ts');
    return cniTool(settings);
  },
  csiTool: async () => {
    const { csiTool } = await import('./csi-tool.ts');
    return csiTool(ownVersion());
  },
});

function ownVersion(): string {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
