import { type Command, Option } from 'commander';
import { RuntimeServiceService, RuntimeStatus, StatusResponse } from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import { printData } from '../output.ts';
import { featureJson, protoJson } from '../proto-json.ts';
import { statusData } from '../status-data.ts';

interface Options {
  output: 'json' | 'yaml';
  quiet?: boolean;
}

/** `keelson info`: the status of the daemon. */
export function configure(command: Command, context: Context): void {
  command
    .option('-q, --quiet', "without the daemon's own information")
    .addOption(
      new Option('-o, --output <format>', 'output format')
        .choices(['json', 'yaml'])
        .default('json'),
    )
    .action(async ({ output, quiet }: Options) => {
      const cri = await context.cri();
      const answer = await cri.call(
        RuntimeServiceService.status,
        { verbose: !quiet },
        { action: 'Cannot ask for the status' },
      );
      const { status, ...extra } = statusData(
        protoJson(RuntimeStatus, answer.status ?? RuntimeStatus.create()),
        answer.info,
      );
      const { runtimeHandlers, features } = protoJson(StatusResponse, answer);
      await printData(context.stdout, output, {
        status,
        runtimeHandlers: featureJson(runtimeHandlers),
        ...(features === undefined ? {} : { features: featureJson(features) }),
        ...extra,
      });
    });
}
