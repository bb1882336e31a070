import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { stopContainer } from '../ending.ts';
import { usageError } from '../failures.ts';
import { count } from '../filters.ts';
import { listContainers } from '../lists.ts';
import { forEachId } from '../many.ts';

interface Options {
  timeout: number;
  all?: boolean;
}

/** `keelson stop`: stops running containers. */
export function configure(command: Command, context: Context): void {
  command
    .argument('[container...]', 'ids, or beginnings of ids')
    .option('-t, --timeout <seconds>', 'how long to wait before SIGKILL', count, 0)
    .option('-a, --all', 'all running containers')
    .action(async (given: string[], { timeout, all }: Options) => {
      if (given.length > 0 === (all ?? false)) throw usageError('Name containers, or use --all');
      const cri = await context.cri();
      const ids = all ? (await listContainers(cri, {})).map(({ id }) => id) : given;
      await forEachId(ids, context, async (id) => {
        await stopContainer(cri, id, timeout);
        return `${id}\n`;
      });
    });
}
