import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { driverCommands } from '../csi-drivers.ts';

/** `keelson csi`: drivers of volumes. */
export function configure(command: Command, context: Context): void {
  driverCommands(command, context);
}
