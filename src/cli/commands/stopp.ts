import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { stopPod } from '../ending.ts';
import { usageError } from '../failures.ts';
import { listPods, POD_STATES } from '../lists.ts';
import { forEachId } from '../many.ts';

/** `keelson stopp`: stops pods. */
export function configure(command: Command, context: Context): void {
  command
    .argument('[pod...]', 'ids, or beginnings of ids')
    .option('-a, --all', 'all pods that are ready')
    .action(async (given: string[], { all = false }: { all?: boolean }) => {
      if (given.length > 0 === all) throw usageError('Name pods, or use --all');
      const cri = await context.cri();
      const found = all ? await listPods(cri, { state: POD_STATES.ready }) : [];
      await forEachId(all ? found.map(({ id }) => id) : given, context, async (id) => {
        await stopPod(cri, id);
        return `Stopped sandbox ${id}\n`;
      });
    });
}
