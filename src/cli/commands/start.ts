import type { Command } from 'commander';
import { RuntimeServiceService } from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import { forEachId } from '../many.ts';

/** `keelson start`: starts created containers. */
export function configure(command: Command, context: Context): void {
  command.argument('<container...>', 'ids, or beginnings of ids').action(async (ids: string[]) => {
    const cri = await context.cri();
    await forEachId(ids, context, async (id) => {
      const action = `Cannot start container "${id}"`;
      await cri.call(RuntimeServiceService.startContainer, { containerId: id }, { action });
      return `${id}\n`;
    });
  });
}
