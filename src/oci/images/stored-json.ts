import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { type Logger, messageOf } from '../../base/index.ts';
import { check, parseJson } from '../spec/index.ts';
import type { Layout } from './layout.ts';

/**
 * Reads all records of a directory. One that cannot be read is set aside and reported, so
 * that it stops nothing; leftovers of writes that did not end are removed.
 */
export async function readRecords<T extends z.ZodType>(
  directory: string,
  schema: T,
  { layout, logger }: { layout: Layout; logger: Logger },
): Promise<z.output<T>[]> {
  const records: z.output<T>[] = [];
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    if (!name.endsWith('.json')) {
      await rm(path, { force: true });
      continue;
    }
    try {
      records.push(check(schema, parseJson(await readFile(path), 'a record'), 'a record'));
    } catch (error) {
      await setAside(path, error, { layout, logger });
    }
  }
  return records;
}

/** Takes a record out of the way that cannot be used. */
export async function setAside(
  path: string,
  error: unknown,
  { layout, logger }: { layout: Layout; logger: Logger },
): Promise<void> {
  const name = `${Date.now()}-${path.split('/').pop()}`;
  logger.error({ path, error }, `cannot use "${path}": ${messageOf(error)}; setting it aside`);
  await rename(path, join(layout.aside, name)).catch((cause: unknown) => {
    logger.error({ path, error: cause }, `cannot set "${path}" aside: ${messageOf(cause)}`);
  });
}
