import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from '../harness/index.ts';

/** Commands of OCI runtimes that can be made to fail. */
const COMMANDS = [
  ...['create', 'start', 'kill', 'delete', 'state', 'exec', 'ps'],
  ...['checkpoint', 'restore', 'features'],
] as const;
type Command = (typeof COMMANDS)[number];

/**
 * crun, or runsc, behind a script that fails, hangs or is missing when a test says so. To be used as
 * the runtime handler `scripted`. Says that it can make checkpoints, and makes none.
 */
export class ScriptedRuntime implements AsyncDisposable {
  readonly directory: string;
  readonly path: string;

  readonly #program: 'crun' | 'runsc';

  private constructor(directory: string, program: 'crun' | 'runsc') {
    this.directory = directory;
    this.#program = program;
    this.path = join(directory, 'bin', 'runtime');
  }

  static async create(program: 'crun' | 'runsc' = 'crun'): Promise<ScriptedRuntime> {
    const directory = await mkdtemp(join(tmpdir(), 'keelson-oci-'));
    const runtime = new ScriptedRuntime(directory, program);
    await mkdir(join(runtime.directory, 'bin'));
    await runtime.install();
    return runtime;
  }

  /** What the daemon's configuration says of it. */
  get config(): string {
    return `[runtimes.crun]\n[runtimes.scripted]\ntype = "${this.#program}"\npath = "${this.path}"\n`;
  }

  async install(): Promise<void> {
    const { directory } = this;
    const script = `#!/bin/sh
for word in "$@"; do
  case $word in ${COMMANDS.join('|')}) command=$word; break ;; esac
done
echo "$command" >> ${directory}/calls
while [ -e ${directory}/hang-$command ]; do sleep 0.05; done
if [ -e ${directory}/fail-$command ]; then cat ${directory}/fail-$command >&2; exit 1; fi
if [ "$command" = checkpoint ]; then
  while [ "$1" != --image-path ]; do shift; done
  mkdir "$2" && exec cp /proc/version "$2/inventory.img"
fi
[ "$1" != --version ] || echo +CRIU
exec ${this.#program} "$@"
`;
    await writeFile(this.path, script);
    await chmod(this.path, 0o755);
  }

  async uninstall(): Promise<void> {
    await rm(this.path);
  }

  /** The command prints this and fails. */
  async fail(command: Command, message: string): Promise<void> {
    await writeFile(join(this.directory, `fail-${command}`), `${message}\n`);
  }

  /** The command goes on only when it is mended. */
  async hang(command: Command): Promise<void> {
    await writeFile(join(this.directory, `hang-${command}`), '');
  }

  async mend(command: Command): Promise<void> {
    for (const way of ['fail', 'hang']) {
      await rm(join(this.directory, `${way}-${command}`), { force: true });
    }
  }

  /** Waits until a command was called for the `count`th time. */
  async called(command: Command, count = 1): Promise<void> {
    await waitFor(`call ${count} of ${command}`, async () => (await this.calls(command)) >= count);
  }

  async calls(command: Command): Promise<number> {
    const text = await readFile(join(this.directory, 'calls'), 'utf8').catch(() => '');
    return text.split('\n').filter((line) => line === command).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}
