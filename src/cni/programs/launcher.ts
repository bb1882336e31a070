import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** By this line a file is known to be a launcher, whichever Keelson wrote it. */
const MARK = '# Runs a CNI plugin of Keelson, chosen by the name of this file.';

/** Bytes that the largest launcher may have, with long paths. */
export const LARGEST_LAUNCHER = 16 * 1024;

/**
 * The launcher of this Keelson: a shell script, because the program needs this Node.js
 * and not whichever the PATH of a runtime has. It is the same for each plugin.
 */
export function launcherText(): string {
  // The sources are run where there are sources, else what they were compiled to.
  const here = fileURLToPath(import.meta.url);
  const program = fileURLToPath(new URL(`plugin-process${extname(here)}`, import.meta.url));
  return `#!/bin/sh
${MARK}
# Written by "keelson cni install"; "keelson cni uninstall" removes it.
node=${quote(process.execPath)}
program=${quote(program)}
if [ ! -x "$node" ] || [ ! -e "$program" ]; then
  echo '{"cniVersion":"1.0.0","code":999,"msg":"Keelson is not where it was: run \\"keelson cni install\\" again"}'
  exit 1
fi
exec "$node" --disable-warning=ExperimentalWarning "$program" "\${0##*/}"
`;
}

export function isLauncher(text: string): boolean {
  return text.split('\n', 2)[1] === MARK;
}

/** A word of sh(1). */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
