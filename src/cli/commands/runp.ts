import type { Command } from 'commander';
import { RuntimeServiceService } from '../../gen/runtime/v1/api.ts';
import { readPodConfig } from '../config-file.ts';
import type { Context } from '../context.ts';
import { parseTimeout } from '../endpoints.ts';
import { print } from '../output.ts';

interface Options {
  runtime?: string;
  cancelTimeout?: number;
}

/** `keelson runp`: runs a pod from a file. */
export function configure(command: Command, context: Context): void {
  command
    .argument('<pod-config>', 'a PodSandboxConfig of CRI, JSON or YAML')
    .option('-r, --runtime <handler>', 'the runtime handler')
    .option('-T, --cancel-timeout <duration>', 'how long it may take', parseTimeout)
    .action(async (path: string, { runtime, cancelTimeout }: Options) => {
      const config = await readPodConfig(path);
      const cri = await context.cri();
      const { podSandboxId } = await cri.call(
        RuntimeServiceService.runPodSandbox,
        { config, runtimeHandler: runtime ?? '' },
        {
          action: `Cannot run pod "${config.metadata?.name}"`,
          timeout: cancelTimeout ?? cri.timeout,
        },
      );
      await print(context.stdout, `${podSandboxId}\n`);
    });
}
