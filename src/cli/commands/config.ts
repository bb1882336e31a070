import type { Command } from 'commander';
import { defaultConfigToml, dumpConfig, loadConfig, readConfig } from '../../config/index.ts';
import type { Context } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { print } from '../output.ts';
import { configSources, type ServeOptions, serveOptions } from '../serve-options.ts';

/** `keelson config`: shows and checks the configuration of `keelson serve`. */
export function configure(command: Command, context: Context): void {
  command
    .command('default')
    .description('Print a file with each key, its meaning and its default')
    .action(() => print(context.stdout, defaultConfigToml()));
  serveOptions(command.command('dump'))
    .description('Print the configuration in force: files, environment and flags together')
    .action(async (options: ServeOptions) => {
      const config = await loadConfig(configSources(options, context.env));
      await print(context.stdout, dumpConfig(config));
    });
  serveOptions(command.command('check'))
    .description('Tell what is wrong with the configuration, one line each')
    .action(async (options: ServeOptions) => {
      const { problems } = await readConfig(configSources(options, context.env));
      for (const problem of problems) context.stderr.write(`${problem}\n`);
      if (problems.length > 0) context.fail(EXIT.usage);
      else await print(context.stdout, 'The configuration is right.\n');
    });
}
