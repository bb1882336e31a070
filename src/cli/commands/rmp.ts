import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { removePod } from '../ending.ts';
import { usageError } from '../failures.ts';
import { listPods } from '../lists.ts';
import { forEachId } from '../many.ts';

interface Options {
  force?: boolean;
  all?: boolean;
}

/** `keelson rmp`: removes pods with their containers. */
export function configure(command: Command, context: Context): void {
  command
    .argument('[pod...]', 'ids, or beginnings of ids')
    .option('-f, --force', 'also pods that are ready: stop them first')
    .option('-a, --all', 'all pods')
    .action(async (given: string[], { force = false, all = false }: Options) => {
      if (given.length > 0 === all) throw usageError('Name pods, or use --all');
      const cri = await context.cri();
      const found = all ? await listPods(cri, {}) : [];
      await forEachId(all ? found.map(({ id }) => id) : given, context, async (id) => {
        await removePod(cri, id, force);
        return `Removed sandbox ${id}\n`;
      });
    });
}
