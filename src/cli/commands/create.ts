import type { Command } from 'commander';
import { RuntimeServiceService } from '../../gen/runtime/v1/api.ts';
import { readContainerConfig, readPodConfig } from '../config-file.ts';
import type { Context } from '../context.ts';
import { type CredentialOptions, credentialOptions, credentialsOf } from '../credentials.ts';
import { parseTimeout } from '../endpoints.ts';
import { print } from '../output.ts';
import { pullImage } from '../pulling.ts';

interface Options extends CredentialOptions {
  withPull?: boolean;
  cancelTimeout?: number;
}

/** `keelson create`: creates a container in a pod. */
export function configure(command: Command, context: Context): void {
  credentialOptions(command)
    .argument('<pod>', 'id of the pod, or the beginning of one')
    .argument('<container-config>', 'a ContainerConfig of CRI, JSON or YAML')
    .argument('<pod-config>', 'the file that the pod was run from')
    .option('--with-pull', 'pull the images first')
    .option('-T, --cancel-timeout <duration>', 'how long the creation may take', parseTimeout)
    .action(async (pod: string, containerPath: string, podPath: string, options: Options) => {
      const config = await readContainerConfig(containerPath);
      const sandboxConfig = await readPodConfig(podPath);
      if (options.withPull) {
        const auth = await credentialsOf(options, context);
        const mounted = config.mounts.map(({ image }) => image?.image);
        for (const reference of new Set([config.image?.image, ...mounted])) {
          if (reference) await pullImage(context, reference, { auth, sandboxConfig });
        }
      }
      const cri = await context.cri();
      const { containerId } = await cri.call(
        RuntimeServiceService.createContainer,
        { podSandboxId: pod, config, sandboxConfig },
        {
          action: `Cannot create container "${config.metadata?.name}" in pod "${pod}"`,
          timeout: options.cancelTimeout ?? cri.timeout,
        },
      );
      await print(context.stdout, `${containerId}\n`);
    });
}
