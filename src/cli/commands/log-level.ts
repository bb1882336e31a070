import { Argument, type Command } from 'commander';
import { LOG_LEVELS } from '../../base/index.ts';
import { askAdminJson } from '../admin-client.ts';
import type { Context } from '../context.ts';
import { print } from '../output.ts';

/** `keelson log-level`: shows or changes what the running daemon logs. */
export function configure(command: Command, context: Context): void {
  command
    .addArgument(new Argument('[level]', 'from now on, until the daemon ends').choices(LOG_LEVELS))
    .action(async (level: string | undefined) => {
      const { level: current } = await askAdminJson<{ level: string }>(await context.cri(), {
        ...(level === undefined ? {} : { method: 'PUT', body: level }),
        path: '/log-level',
        signal: context.signal,
      });
      await print(context.stdout, `${current}\n`);
    });
}
