import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface RecorderAnswer {
  /** Printed by ADD. Default: an address, 10.0.0.2/8. */
  result?: object;
  /** Shell text that runs before the answer, with the variables of the call. */
  before?: string;
}

/** Plugins that are shell scripts, in a directory of their own. */
export class ScriptedPlugins implements AsyncDisposable {
  readonly directory: string;
  readonly bin: string;

  private constructor(directory: string) {
    this.directory = directory;
    this.bin = join(directory, 'bin');
  }

  static async create(): Promise<ScriptedPlugins> {
    const plugins = new ScriptedPlugins(await mkdtemp(join(tmpdir(), 'keelson-cni-')));
    await mkdir(plugins.bin);
    return plugins;
  }

  path(...names: string[]): string {
    return join(this.directory, ...names);
  }

  async add(type: string, script: string): Promise<void> {
    await writeFile(join(this.bin, type), `#!/bin/sh\n${script}\n`);
    await chmod(join(this.bin, type), 0o755);
  }

  /** A plugin that notes each call before it answers. */
  async addRecorder(type: string, answer: RecorderAnswer = {}): Promise<void> {
    const result = answer.result ?? { cniVersion: '1.0.0', ips: [{ address: '10.0.0.2/8' }] };
    await this.add(
      type,
      `
input=$(cat)
printf '%s\\n' "$CNI_COMMAND ${type} $CNI_CONTAINERID $CNI_IFNAME" >> ${this.path('calls')}
printf '%s' "$input" > "${this.path('input')}-${type}-$CNI_COMMAND"
printf '%s' "$CNI_NETNS" > "${this.path('netns')}-${type}-$CNI_COMMAND"
${answer.before ?? ''}
if [ "$CNI_COMMAND" = ADD ]; then printf '%s' '${JSON.stringify(result)}'; fi`,
    );
  }

  /** `COMMAND type container ifname` of each call so far, without what is empty. */
  async calls(): Promise<string[]> {
    const text = await readFile(this.path('calls'), 'utf8').catch(() => '');
    return text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
  }

  async forgetCalls(): Promise<void> {
    await rm(this.path('calls'), { force: true });
  }

  /** What the plugin last got on its standard input for a command. */
  async input(type: string, command: string): Promise<Record<string, unknown>> {
    return JSON.parse(await readFile(`${this.path('input')}-${type}-${command}`, 'utf8'));
  }

  /** CNI_NETNS of the plugin's last call of a command. */
  netns(type: string, command: string): Promise<string> {
    return readFile(`${this.path('netns')}-${type}-${command}`, 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** A script that fails with a CNI error object. */
export function failing(code: number, msg: string): string {
  return `echo '{"cniVersion":"1.0.0","code":${code},"msg":"${msg}"}'; exit 1`;
}
