import type { Command } from 'commander';
import { askAdminJson } from '../admin-client.ts';
import type { Context } from '../context.ts';
import { driverCommands } from '../csi-drivers.ts';
import { type Format, outputOption, print, printData, table } from '../output.ts';

/** `keelson csi`: drivers of volumes. */
export function configure(command: Command, context: Context): void {
  driversCommand(command, context);
  driverCommands(command, context);
}

/** A driver as the daemon answers it. */
interface DriverReport {
  readonly name: string;
  readonly version: string;
  readonly endpoint: string;
  readonly nodeId?: string;
  readonly maxVolumes: number;
  readonly volumes: number;
  readonly plugin: readonly string[];
  readonly controller: readonly string[];
  readonly node: readonly string[];
}

function driversCommand(command: Command, context: Context): void {
  const drivers = command
    .command('drivers')
    .description('List the drivers that are registered with the daemon');
  outputOption(drivers, 'table').action(async ({ output }: { output: Format }) => {
    const found = await askAdminJson<DriverReport[]>(await context.cri(), {
      path: '/csi/drivers',
      signal: context.signal,
    });
    if (output !== 'table') return printData(context.stdout, output, found);
    const rows = found.map((driver) => [
      driver.name,
      driver.version,
      driver.nodeId ?? '',
      driver.maxVolumes === 0
        ? String(driver.volumes)
        : `${driver.volumes} of ${driver.maxVolumes}`,
      driver.endpoint.replace(/^unix:\/\//, ''),
    ]);
    await print(
      context.stdout,
      table([['DRIVER', 'VERSION', 'NODE ID', 'VOLUMES', 'SOCKET'], ...rows]),
    );
  });
}
