import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { parse } from 'yaml';
import { ifExists, KeelsonError, messageOf } from '../../base/index.ts';
import { check } from '../spec/index.ts';
import { type DeviceName, parseDeviceName } from './names.ts';
import { type CdiEdits, type CdiSpec, cdiSchema } from './schema.ts';

interface Read {
  path: string;
  spec: CdiSpec;
}

/**
 * The edits that devices ask for, in the order of their names; those that a document has
 * for all of its devices come once, before the first. The documents are read anew each
 * time: drivers write them when devices come and go. Of two directories with a device, the
 * later one counts. Fails with INVALID_ARGUMENT if one of the devices cannot be found.
 */
export async function resolveDevices(
  names: readonly string[],
  directories: readonly string[],
): Promise<CdiEdits[]> {
  const wanted = [...new Set(names)].map((text) => ({ text, ...parseDeviceName(text) }));
  if (wanted.length === 0) return [];
  const problems: string[] = [];
  const levels: Read[][] = [];
  for (const directory of directories.toReversed()) {
    levels.push(await readDirectory(directory, problems));
  }
  const used = new Set<CdiSpec>();
  return wanted.flatMap((device) => {
    const { spec, edits } = findDevice(device, levels, problems);
    if (spec.containerEdits === undefined || used.has(spec)) return [edits];
    used.add(spec);
    return [spec.containerEdits, edits];
  });
}

function findDevice(
  { text, kind, name }: DeviceName & { text: string },
  levels: readonly Read[][],
  problems: readonly string[],
): { spec: CdiSpec; edits: CdiEdits } {
  const refuse = (reason: string) =>
    new KeelsonError('INVALID_ARGUMENT', `Cannot give CDI device "${text}"`, { reason });
  for (const level of levels) {
    const found = level.flatMap(({ path, spec }) =>
      spec.kind === kind
        ? spec.devices
            .filter((device) => device.name === name)
            .map(({ containerEdits }) => ({ path, spec, edits: containerEdits }))
        : [],
    );
    const [first, second] = found;
    if (first === undefined) continue;
    if (second === undefined) return first;
    throw refuse(`it is in "${first.path}" as in "${second.path}"`);
  }
  const unreadable = problems.length === 0 ? '' : `; unusable are ${problems.join('; ')}`;
  throw refuse(`no CDI document has it${unreadable}`);
}

/** One document that is wrong must not hide the others. */
async function readDirectory(directory: string, problems: string[]): Promise<Read[]> {
  const names = ((await ifExists(readdir(directory))) ?? []).sort();
  const found: Read[] = [];
  for (const name of names) {
    if (!['.json', '.yaml', '.yml'].includes(extname(name))) continue;
    const path = join(directory, name);
    try {
      const content: unknown = parse(await readFile(path, 'utf8'), { maxAliasCount: 0 });
      found.push({ path, spec: check(cdiSchema, content, 'a CDI document') });
    } catch (error) {
      problems.push(`"${path}": ${messageOf(error)}`);
    }
  }
  return found;
}
