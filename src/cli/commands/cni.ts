import { resolve } from 'node:path';
import type { Command } from 'commander';
import { codeOf, KeelsonError, messageOf } from '../../base/index.ts';
import { loadConfig } from '../../config/index.ts';
import {
  type NetworkOptions,
  networkOptions,
  type PlaceOptions,
  placeOf,
  placeOptions,
  settingsOf,
} from '../cni-options.ts';
import type { CniPlace, CniTool } from '../cni-tool.ts';
import type { Context } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { usageError } from '../failures.ts';
import { type Format, outputOption, print, printData, table } from '../output.ts';
import { configSources } from '../serve-options.ts';

/** `keelson cni`: networks by hand, and built-in plugins for other runtimes. */
export function configure(command: Command, context: Context): void {
  attachmentCommand(command, context, {
    name: 'add',
    description: 'Attach a network namespace to a network, and print the result',
    run: async (tool, network, place) => {
      const result = await tool.add(network, place, context.signal);
      await print(context.stdout, `${JSON.stringify(result, null, 2)}\n`);
    },
  });
  attachmentCommand(command, context, {
    name: 'del',
    description: 'Detach a network namespace, which may be gone, from a network',
    run: (tool, network, place) => tool.del(network, place, context.signal),
  });
  attachmentCommand(command, context, {
    name: 'check',
    description: 'Tell whether a network is as "add" made it',
    run: (tool, network, place) => tool.check(network, place, context.signal),
  });
  networkCommand(command, context, {
    name: 'gc',
    description: 'Clean up after attachments whose network namespace is gone',
    run: (tool, network) => tool.gc(network, context.signal),
  });
  networkCommand(command, context, {
    name: 'status',
    description: 'Tell whether the plugins of a network are ready',
    run: (tool, network) => tool.status(network, context.signal),
  });
  versionCommand(command, context);
  listCommand(command, context);
  launcherCommands(command, context);
}

interface NetworkCommand {
  name: string;
  description: string;
  run(tool: CniTool, network: string): Promise<void>;
}

interface AttachmentCommand {
  name: string;
  description: string;
  run(tool: CniTool, network: string, place: CniPlace): Promise<void>;
}

function attachmentCommand(parent: Command, context: Context, what: AttachmentCommand): void {
  const command = parent
    .command(what.name)
    .description(what.description)
    .argument('<network>', 'name of a network')
    .argument('<netns>', 'path of a network namespace');
  placeOptions(networkOptions(command)).action(
    async (network: string, netns: string, options: NetworkOptions & PlaceOptions) => {
      const place = placeOf(netns, options, context.env);
      const tool = await openTool(context, options);
      await told(() => what.run(tool, network, place));
    },
  );
}

function networkCommand(parent: Command, context: Context, what: NetworkCommand): void {
  const command = parent
    .command(what.name)
    .description(what.description)
    .argument('<network>', 'name of a network');
  networkOptions(command).action(async (network: string, options: NetworkOptions) => {
    const tool = await openTool(context, options);
    await told(() => what.run(tool, network));
  });
}

function versionCommand(parent: Command, context: Context): void {
  const command = parent
    .command('version')
    .description('Show the CNI versions that each plugin of a network speaks')
    .argument('<network>', 'name of a network');
  outputOption(networkOptions(command), 'table').action(
    async (network: string, options: NetworkOptions & { output: Format }) => {
      const tool = await openTool(context, options);
      const plugins = await tool.versions(network, context.signal);
      if (options.output !== 'table') {
        return printData(context.stdout, options.output, { plugins });
      }
      const rows = plugins.map(({ type, program, versions }) => [
        ...[type, program, versions.join(' ')],
      ]);
      return print(context.stdout, table([['PLUGIN', 'PROGRAM', 'VERSIONS'], ...rows]));
    },
  );
}

function listCommand(parent: Command, context: Context): void {
  const command = parent.command('list').description('List the networks that are configured');
  outputOption(networkOptions(command), 'table').action(
    async (options: NetworkOptions & { output: Format }) => {
      const networks = await (await openTool(context, options)).networks();
      const problems = networks.flatMap(({ problem }) => problem ?? []);
      for (const problem of problems) context.stderr.write(`keelson: ${problem}\n`);
      if (problems.length > 0) context.fail(EXIT.usage);
      if (options.output !== 'table') {
        return printData(context.stdout, options.output, { networks });
      }
      const rows = networks
        .filter(({ problem }) => problem === undefined)
        .map(({ name, version, plugins, file }) => {
          return [name, version, plugins.join(','), file === '' ? '(embedded)' : file];
        });
      return print(context.stdout, table([['NETWORK', 'VERSION', 'PLUGINS', 'FILE'], ...rows]));
    },
  );
}

function launcherCommands(parent: Command, context: Context): void {
  parent
    .command('install')
    .description('Write the built-in plugins as programs for other runtimes into a directory')
    .argument('<dir>', 'such as /opt/cni/bin')
    .option('--force', 'replace other files of the same names')
    .option('-c, --config <file>', 'configuration (default: /etc/keelson/config.toml if there)')
    .action(async (directory: string, options: { force?: boolean; config?: string }) => {
      const { cni } = await loadConfig(
        configSources(options.config === undefined ? {} : { config: options.config }, context.env),
      );
      if (resolve(directory) === resolve(cni.overrideDir)) {
        throw usageError(
          `Cannot install into "${directory}": there the daemon looks for what replaces its plugins`,
        );
      }
      const tool = await openTool(context, options);
      const paths = await tool.install(directory, { force: options.force ?? false });
      await print(context.stdout, paths.map((path) => `${path}\n`).join(''));
    });
  parent
    .command('uninstall')
    .description('Remove what "install" wrote into a directory')
    .argument('<dir>')
    .action(async (directory: string) => {
      const tool = await openTool(context, {});
      const paths = await tool.uninstall(directory);
      await print(context.stdout, paths.map((path) => `${path}\n`).join(''));
    });
}

async function openTool(context: Context, options: NetworkOptions): Promise<CniTool> {
  if (context.cniTool === undefined) {
    throw new KeelsonError('UNIMPLEMENTED', 'This program has no CNI engine');
  }
  const { config } = options;
  const sources = configSources(config === undefined ? {} : { config }, context.env);
  return context.cniTool(settingsOf(await loadConfig(sources), options, context.env));
}

/** UNAVAILABLE is a plugin that is not ready: for this program it would mean the daemon. */
async function told(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (codeOf(error) !== 'UNAVAILABLE') throw error;
    throw new KeelsonError('FAILED_PRECONDITION', messageOf(error));
  }
}
