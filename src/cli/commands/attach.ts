import type { Command } from 'commander';
import { RuntimeServiceService } from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';

interface Options {
  interactive?: boolean;
  tty?: boolean;
}

/** `keelson attach`: joins the streams of a container's own program. */
export function configure(command: Command, context: Context): void {
  command
    .argument('<container>', 'its id, or the beginning of it')
    .option('-i, --interactive', 'pass your input on; the container must have been made with stdin')
    .option('-t, --tty', 'it has a terminal')
    .action(async (containerId: string, options: Options) => {
      const { interactive = false, tty = false } = options;
      const action = `Cannot attach to container "${containerId}"`;
      const cri = await context.cri();
      const { interact } = await import('../streaming/interactive.ts');
      const { url } = await cri.call(
        RuntimeServiceService.attach,
        { containerId, tty, stdin: interactive, stdout: true, stderr: !tty },
        { action },
      );
      const session = { url, action, interactive, tty, detachable: true };
      context.fail((await interact(context, cri, session)) ?? 0);
    });
}
