import type { Command } from 'commander';
import { RuntimeServiceService } from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import { usageError } from '../failures.ts';
import { count } from '../filters.ts';
import { print } from '../output.ts';
import { withoutDashes } from '../words.ts';

interface Options {
  interactive?: boolean;
  tty?: boolean;
  sync?: boolean;
  timeout: number;
}

interface Wanted {
  containerId: string;
  cmd: string[];
  action: string;
}

/** `keelson exec`: runs a command in a container to its end, by Exec or by ExecSync. */
export function configure(command: Command, context: Context): void {
  command
    .argument('<container>', 'its id, or the beginning of it')
    .argument('<command...>', 'the program and its arguments')
    .option('-i, --interactive', 'pass your input on')
    .option('-t, --tty', 'give it a terminal')
    .option('-s, --sync', 'wait for the command to end, then show what it wrote')
    .option('--timeout <seconds>', 'kill the command after so long, with --sync', count, 0)
    .passThroughOptions()
    .action(async (containerId: string, words: string[], options: Options) => {
      const cmd = withoutDashes(words);
      const action = `Cannot run "${cmd[0]}" in container "${containerId}"`;
      const wanted = { containerId, cmd, action };
      const isSync = options.sync === true || options.timeout > 0;
      if (isSync && (options.interactive || options.tty)) {
        throw usageError('--sync and --timeout go without -i and -t');
      }
      context.fail(await (isSync ? runSync : run)(context, wanted, options));
    });
}

async function run(
  context: Context,
  { action, ...request }: Wanted,
  options: Options,
): Promise<number> {
  const { interactive = false, tty = false } = options;
  const cri = await context.cri();
  const { interact } = await import('../streaming/interactive.ts');
  const { url } = await cri.call(
    RuntimeServiceService.exec,
    { ...request, tty, stdin: interactive, stdout: true, stderr: !tty },
    { action },
  );
  return (await interact(context, cri, { url, action, interactive, tty })) ?? 0;
}

async function runSync(
  context: Context,
  { action, ...request }: Wanted,
  { timeout }: Options,
): Promise<number> {
  const cri = await context.cri();
  const answer = await cri.call(
    RuntimeServiceService.execSync,
    { ...request, timeout: BigInt(timeout) },
    {
      action,
      timeout: timeout === 0 ? Number.POSITIVE_INFINITY : timeout * 1000 + cri.timeout,
    },
  );
  await print(context.stdout, answer.stdout);
  await print(context.stderr, answer.stderr);
  return answer.exitCode;
}
