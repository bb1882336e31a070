import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { removeContainer } from '../ending.ts';
import { usageError } from '../failures.ts';
import { listContainers } from '../lists.ts';
import { forEachId } from '../many.ts';

interface Options {
  force?: boolean;
  all?: boolean;
  keepLogs?: boolean;
}

/** `keelson rm`: removes containers. */
export function configure(command: Command, context: Context): void {
  command
    .argument('[container...]', 'ids, or beginnings of ids')
    .option('-f, --force', 'also running ones')
    .option('-k, --keep-logs', 'leave the log files and their rotations')
    .option('-a, --all', 'all containers')
    .action(async (given: string[], { force = false, all = false, keepLogs = false }: Options) => {
      if (given.length > 0 === all) throw usageError('Name containers, or use --all');
      const cri = await context.cri();
      const found = all ? await listContainers(cri, { all: true }) : [];
      await forEachId(all ? found.map(({ id }) => id) : given, context, async (id) => {
        await removeContainer(cri, id, { force, keepLogs });
        return `${id}\n`;
      });
    });
}
