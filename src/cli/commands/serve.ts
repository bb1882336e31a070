import type { Command } from 'commander';
import { loadConfig } from '../../config/index.ts';
import type { Context } from '../context.ts';
import { configSources, type ServeOptions, serveOptions } from '../serve-options.ts';

/** `keelson serve`: runs the daemon. */
export function configure(command: Command, context: Context): void {
  serveOptions(command).action(async (options: ServeOptions) => {
    const config = await loadConfig(configSources(options, context.env));
    await context.serve(config, context.signal);
  });
}
