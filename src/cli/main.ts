import { Command, CommanderError } from 'commander';
import { COMMANDS } from './commands/index.ts';
import type { Context, Surroundings } from './context.ts';
import type { CriClient } from './cri-client.ts';
import type { GlobalOptions } from './endpoints.ts';
import { EXIT } from './exit-codes.ts';

/** Commands whose exit code is that of a program in a container. */
const HAVE_PROGRAM_CODE = new Set(['run', 'exec', 'attach']);

/** Runs one command line and answers the exit code. Errors are told on stderr. */
export async function runCli(args: readonly string[], around: Surroundings): Promise<number> {
  const program = createProgram(around);
  const invocation = new Invocation(program, around);
  program.hook('preSubcommand', (_, subcommand) => invocation.enter(subcommand));
  try {
    // `help X` as `X --help`: commander would show the help before the options are known.
    const [first, second, ...rest] = args;
    const line = first === 'help' && second !== undefined ? [second, '--help', ...rest] : args;
    await program.parseAsync([...line], { from: 'user' });
    return invocation.exitCode;
  } catch (error) {
    return await invocation.report(error);
  } finally {
    invocation.client?.[Symbol.dispose]();
  }
}

function createProgram(around: Surroundings): Command {
  const program = new Command('keelson')
    .description('Runs Kubernetes pods on this machine, and talks to the daemon that does.')
    .version(around.version, '-v, --version')
    .option('-r, --socket <uri>', 'the CRI socket (default: unix:///run/keelson/keelson.sock)')
    .option('-i, --image-socket <uri>', 'the socket of the image service, if it is another')
    .option('-t, --timeout <duration>', 'how long a call may take, 0 for ever (default: 2m)')
    .option('--tls-ca <file>', 'for tcp sockets: who signed the certificate of the daemon')
    .option('--tls-cert <file>', 'for tcp sockets: the certificate to show')
    .option('--tls-key <file>', 'for tcp sockets: its key')
    .helpCommand('help [command]', 'Show the help of a command')
    .commandsGroup('Help:')
    .enablePositionalOptions()
    .showHelpAfterError('(--help tells more)')
    .configureOutput({
      writeOut: (text) => around.stdout.write(text),
      writeErr: (text) => around.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'keelson: ')),
      getOutHelpWidth: () => around.stdout.columns ?? 100,
      getErrHelpWidth: () => around.stderr.columns ?? 100,
    })
    .exitOverride();
  for (const { name, summary, group } of COMMANDS) {
    program.command(name).summary(summary).description(summary).helpGroup(group);
  }
  return program;
}

/** What one command line has come to. */
class Invocation {
  exitCode: number = EXIT.ok;
  client: CriClient | undefined;
  readonly #program: Command;
  readonly #around: Surroundings;
  readonly #context: Context;
  readonly #configured = new Set<string>();
  #running = '';

  constructor(program: Command, around: Surroundings) {
    this.#program = program;
    this.#around = around;
    this.#context = {
      ...around,
      cri: () => this.#cri(),
      wholeProgram: () => this.#wholeProgram(),
      fail: (code) => this.#fail(code),
    };
  }

  /** Reads the file of the command that is about to run. */
  async enter(command: Command): Promise<void> {
    this.#running = command.name();
    await this.#configure(command);
  }

  /** Tells an error on stderr and answers the exit code that it means. */
  async report(error: unknown): Promise<number> {
    // Commander has printed what it has to say; help and version end this way too.
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
    // Whoever interrupts knows it.
    if (this.#around.signal.aborted) return EXIT.interrupted;
    const { errorLine, exitCodeOf, traceOf } = await import('./failures.ts');
    const said = error instanceof CommanderError;
    if (!said) this.#around.stderr.write(errorLine(error) + traceOf(error));
    if (HAVE_PROGRAM_CODE.has(this.#running)) return EXIT.ownFailure;
    return said ? EXIT.usage : exitCodeOf(error);
  }

  async #configure(command: Command): Promise<void> {
    if (this.#configured.has(command.name())) return;
    this.#configured.add(command.name());
    const entry = COMMANDS.find(({ name }) => name === command.name());
    (await entry?.load())?.configure(command, this.#context);
  }

  async #wholeProgram(): Promise<Command> {
    for (const command of this.#program.commands) await this.#configure(command);
    return this.#program;
  }

  async #cri(): Promise<CriClient> {
    const { clientOptions } = await import('./endpoints.ts');
    const { CriClient } = await import('./cri-client.ts');
    const { env, signal } = this.#around;
    this.client ??= new CriClient(clientOptions(this.#program.opts<GlobalOptions>(), env, signal));
    return this.client;
  }

  #fail(code: number): void {
    if (code === EXIT.ok) return;
    this.exitCode = this.exitCode === EXIT.ok || this.exitCode === code ? code : EXIT.error;
  }
}
