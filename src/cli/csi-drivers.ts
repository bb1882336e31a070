import type { Command } from 'commander';
import { KeelsonError, parseDuration } from '../base/index.ts';
import type { Context } from './context.ts';
import type { CsiTool, ProbedDriver } from './csi-tool.ts';
import { usageError } from './failures.ts';
import { type Format, outputOption, print, printData, table } from './output.ts';

/** `keelson csi hostpath` and `probe`: a driver to run, and a look at one that runs. */
export function driverCommands(command: Command, context: Context): void {
  hostPathCommand(command, context);
  probeCommand(command, context);
}

interface HostPathFlags {
  endpoint?: string;
  root: string;
  nodeId?: string;
  name?: string;
  registrationDir?: string;
  logLevel: string;
}

function hostPathCommand(parent: Command, context: Context): void {
  parent
    .command('hostpath')
    .description('Run the host-path driver: volumes in a directory of this host')
    .option('--endpoint <uri>', 'where it listens, unix:///PATH.sock (default: $CSI_ENDPOINT)')
    .option('--root <dir>', 'where volumes and snapshots are kept', '/var/lib/keelson/hostpath')
    .option('--node-id <id>', 'what this node is called (default: the name of the host)')
    .option('--name <name>', 'what the driver is called (default: hostpath.csi.keelson)')
    .option('--registration-dir <dir>', 'where the daemon, or a kubelet, looks for drivers')
    .option('--log-level <level>', 'what is logged, from trace to silent', 'info')
    .action(async ({ endpoint = context.env['CSI_ENDPOINT'], ...flags }: HostPathFlags) => {
      if (endpoint === undefined) {
        throw usageError('Cannot run the driver without --endpoint or CSI_ENDPOINT');
      }
      const tool = await toolOf(context);
      await tool.hostPath({ ...flags, endpoint }, context.signal);
    });
}

function probeCommand(parent: Command, context: Context): void {
  const probe = parent
    .command('probe')
    .description('Show what a driver says it can do')
    .argument('<socket>', 'where it listens')
    .option('--timeout <duration>', 'how long each call may take', '10s');
  outputOption(probe, 'table').action(
    async (socket: string, options: { timeout: string; output: Format }) => {
      const timeout = parseDuration(options.timeout);
      if (!timeout) throw usageError(`"${options.timeout}" is no duration, such as 10s`);
      const tool = await toolOf(context);
      const driver = await tool.probe(socket, { timeout, signal: context.signal });
      if (options.output !== 'table') return printData(context.stdout, options.output, driver);
      return print(context.stdout, describe(driver));
    },
  );
}

/** Who it is, and a table with one line for each capability. */
function describe({ name, version, ready, node, ...offer }: ProbedDriver): string {
  const limit = node?.maxVolumes === '0' ? 'no limit' : `at most ${node?.maxVolumes} volumes`;
  const places = Object.entries(node?.topology ?? {}).map(([key, value]) => `${key}=${value}`);
  const about = [
    ['Driver:', `${name} ${version}`],
    ['Ready:', ready ? 'yes' : 'no'],
    ['Node:', node === undefined ? 'no Node service here' : `${node.nodeId}, ${limit}`],
    ...(places.length === 0 ? [] : [['Topology:', places.join(', ')]]),
  ];
  const services = [
    ['plugin', offer.plugin],
    ['expansion', offer.expansion],
    ['controller', offer.controller],
    ['group controller', offer.groupController],
    ['node', node?.capabilities ?? []],
  ] as const;
  const rows = services.flatMap(([service, names]) => names.map((each) => [service, each]));
  return `${table(about)}\n${table([['SERVICE', 'CAPABILITY'], ...rows])}`;
}

async function toolOf(context: Context): Promise<CsiTool> {
  if (context.csiTool === undefined) {
    throw new KeelsonError('UNIMPLEMENTED', 'This program has no CSI drivers');
  }
  return context.csiTool();
}
