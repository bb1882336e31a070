import { accessSync, constants, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';

/** The absolute path of a program, given as such or as a name to look up in PATH. */
export function findProgram(
  program: string,
  path: string = process.env['PATH'] ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin',
): string | undefined {
  const candidates = isAbsolute(program)
    ? [program]
    : path
        .split(':')
        .filter(isAbsolute)
        .map((directory) => join(directory, program));
  return candidates.find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
