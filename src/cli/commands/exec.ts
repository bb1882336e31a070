import type { Command } from 'commander';
import { RuntimeServiceService } from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import { count } from '../filters.ts';
import { print } from '../output.ts';
import { withoutDashes } from '../words.ts';

interface Options {
  timeout: number;
}

/**
 * `keelson exec`: runs a command in a container to its end, by ExecSync. Terminals and
 * live input need the streaming RPCs; they belong beside this call, not into it.
 */
export function configure(command: Command, context: Context): void {
  command
    .argument('<container>', 'its id, or the beginning of it')
    .argument('<command...>', 'the program and its arguments')
    .option('-s, --sync', 'wait for the command to end, then show what it wrote (always so)')
    .option('--timeout <seconds>', 'kill the command after so long, 0 for never', count, 0)
    .passThroughOptions()
    .action(async (containerId: string, words: string[], { timeout }: Options) => {
      const cri = await context.cri();
      const answer = await cri.call(
        RuntimeServiceService.execSync,
        { containerId, cmd: withoutDashes(words), timeout: BigInt(timeout) },
        {
          action: `Cannot run "${withoutDashes(words)[0]}" in container "${containerId}"`,
          timeout: timeout === 0 ? Number.POSITIVE_INFINITY : timeout * 1000 + cri.timeout,
        },
      );
      await print(context.stdout, answer.stdout);
      await print(context.stderr, answer.stderr);
      context.fail(answer.exitCode);
    });
}
