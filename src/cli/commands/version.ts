import type { Command } from 'commander';
import { RuntimeServiceService, VersionResponse } from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import { type Format, outputOption, print, printData } from '../output.ts';
import { protoJson } from '../proto-json.ts';

/** `keelson version`: what the daemon is. `keelson --version` tells what the program is. */
export function configure(command: Command, context: Context): void {
  outputOption(command, 'table').action(async ({ output }: { output: Format }) => {
    const cri = await context.cri();
    const version = await cri.call(
      RuntimeServiceService.version,
      { version: 'v1' },
      { action: 'Cannot ask for the version' },
    );
    if (output !== 'table') {
      return printData(context.stdout, output, protoJson(VersionResponse, version));
    }
    const text =
      `Version:  ${version.version}\nRuntimeName:  ${version.runtimeName}\n` +
      `RuntimeVersion:  ${version.runtimeVersion}\n` +
      `RuntimeApiVersion:  ${version.runtimeApiVersion}\n`;
    return print(context.stdout, text);
  });
}
