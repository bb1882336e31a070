import type { Command } from 'commander';
import { readPodConfig } from '../config-file.ts';
import type { Context } from '../context.ts';
import { type CredentialOptions, credentialOptions, credentialsOf } from '../credentials.ts';
import { parseTimeout } from '../endpoints.ts';
import { label } from '../filters.ts';
import { print } from '../output.ts';
import { pullImage } from '../pulling.ts';

interface Options extends CredentialOptions {
  podConfig?: string;
  annotation?: Record<string, string>;
  pullTimeout?: number;
}

/** `keelson pull`: pulls an image. */
export function configure(command: Command, context: Context): void {
  credentialOptions(command)
    .argument('<image>', 'NAME[:TAG][@DIGEST]')
    .option('--pod-config <file>', 'the pod that the image is for, JSON or YAML')
    .option('-a, --annotation <key=value>', 'annotation of the request (may be repeated)', label)
    .option(
      '--pull-timeout <duration>',
      'how long the pull may take (default: as long as it needs)',
      parseTimeout,
    )
    .action(async (reference: string, options: Options) => {
      const auth = await credentialsOf(options, context);
      const { podConfig, annotation, pullTimeout } = options;
      const imageRef = await pullImage(context, reference, {
        auth,
        annotations: annotation ?? {},
        ...(pullTimeout === undefined ? {} : { timeout: pullTimeout }),
        ...(podConfig === undefined ? {} : { sandboxConfig: await readPodConfig(podConfig) }),
      });
      await print(context.stdout, `Image is up to date for ${imageRef}\n`);
    });
}
