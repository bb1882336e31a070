import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const SOURCES = new URL('../../src', import.meta.url).pathname;

/** Values of the expressions in the names of steps, for a pod with one network. */
const VALUES: Record<string, string> = { '${attachment.ifname}': 'eth0' };

/**
 * The names of all places where KEELSON_FAULT_POINT kills the daemon, read from the sources
 * of a folder, so that a step that is added is tested too.
 */
export function faultPointsIn(folder: string): string[] {
  const files = readdirSync(join(SOURCES, folder), { recursive: true, encoding: 'utf8' });
  const sources = files.filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  return sources.flatMap((name) => pointsOf(readFileSync(join(SOURCES, folder, name), 'utf8')));
}

function pointsOf(source: string): string[] {
  const explicit = [...source.matchAll(/\bfaultPoint\(\s*(['`])(.+?)\1/g)];
  const operations = [...source.matchAll(/new Steps\('([^']+)'/g)];
  const steps = [...source.matchAll(/\bsteps\.run\(\s*(['`])(.+?)\1/g)];
  if (operations.length > 1 || (operations.length === 0) !== (steps.length === 0)) {
    throw new Error(`Cannot tell the operation of each step in:\n${source}`);
  }
  if (source.split('steps.run(').length - 1 !== steps.length) {
    throw new Error(`A step's name is no literal in:\n${source}`);
  }
  const names = [
    ...explicit.map(([, , name]) => name!),
    ...steps.map(([, , name]) => `${operations[0]![1]}/${name}`),
  ];
  return names.map((name) =>
    name.replace(/\$\{[^}]*\}/g, (expression) => {
      const value = VALUES[expression];
      if (value === undefined) throw new Error(`No value for ${expression} in "${name}"`);
      return value;
    }),
  );
}
