import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, ifExists, sleep, traceContext } from '../../base/index.ts';
import { type RunResult, run } from '../../linux/index.ts';
import {
  CNI_ERROR,
  type CniCommand,
  CniError,
  type CniResult,
  checkPluginType,
  formatResult,
  JsonReader,
  NEWEST_VERSION,
  OLDEST_VERSION,
  type PluginCall,
  type PluginConfig,
  type PluginInvoker,
  parseJson,
  parseResult,
} from '../spec/index.ts';
import { callInSpan } from './call-span.ts';
import { failureOf } from './plugin-failure.ts';

/** Bytes that a plugin may print. Results have some hundred. */
const OUTPUT_LIMIT = 1024 * 1024;

/** A program that is being written cannot run (ETXTBSY): how often, and after how many milliseconds, to try again. */
const BUSY_RETRIES = 5;
const BUSY_PAUSE = 1000;

type Environment = Record<string, string | undefined>;

/** Plugins older than the command VERSION miss these before they say that they do not know it. */
const ASKED_FIRST = { CNI_NETNS: 'dummy', CNI_IFNAME: 'dummy', CNI_CONTAINERID: 'dummy' };

/** Variables of an outer call must not reach an inner one, but for that which allows more. */
const NOT_HANDED_ON = /^CNI_(?!NETNS_OVERRIDE$)/;

/** Runs plugins as programs (CNI specification, sections 2 and 4). */
export class ExecInvoker implements PluginInvoker {
  readonly #environment: Environment;

  /** Plugins see `environment`, by default that of this process, and their call's variables. */
  constructor(environment: Environment = process.env) {
    this.#environment = Object.fromEntries(
      Object.entries(environment).filter(([name]) => !NOT_HANDED_ON.test(name)),
    );
  }

  async invoke(type: string, call: PluginCall): Promise<CniResult | undefined> {
    const program = await this.#locate(type, call.path);
    return callInSpan({ type, program }, call, async () => {
      const output = await this.#run(program, {
        command: call.command,
        environment: environmentOf(call),
        input: formatInput(call.config),
        signal: call.signal,
      });
      if (call.command !== 'ADD') return undefined;
      const what = `Result of CNI plugin "${type}"`;
      return parseResult(parseJson(output, what), call.config.cniVersion, what);
    });
  }

  async find(type: string, path: readonly string[]): Promise<string | undefined> {
    checkPluginType(type);
    for (const directory of path) {
      if (directory === '') continue;
      const program = join(directory, type);
      const file = await ifExists(stat(program)).catch((error: unknown) => {
        if (errnoOf(error) === 'ENOTDIR') return undefined;
        throw error;
      });
      if (file?.isFile()) return program;
    }
    return undefined;
  }

  async versions(type: string, path: readonly string[], signal: AbortSignal): Promise<string[]> {
    const program = await this.#locate(type, path);
    try {
      const output = await this.#run(program, {
        command: 'VERSION',
        environment: { CNI_COMMAND: 'VERSION', CNI_PATH: path.join(':'), ...ASKED_FIRST },
        input: JSON.stringify({ cniVersion: NEWEST_VERSION }),
        signal,
      });
      const what = `Versions of CNI plugin "${type}"`;
      const reader = new JsonReader(parseJson(output, what), what, CNI_ERROR.DECODING_FAILURE);
      return reader.required('supportedVersions').strings();
    } catch (error) {
      // Plugins older than the command itself.
      if (error instanceof CniError && /unknown CNI_COMMAND/i.test(error.message)) {
        return [OLDEST_VERSION];
      }
      throw error;
    }
  }

  async #locate(type: string, path: readonly string[]): Promise<string> {
    const program = await this.find(type, path);
    if (program !== undefined) return program;
    throw new CniError(CNI_ERROR.INVALID_CONFIG, `Cannot find CNI plugin "${type}"`, {
      details: `there is no such program in ${path.map((each) => `"${each}"`).join(', ') || 'no directory at all'}`,
      hint: 'install the plugin, or name its directory',
    });
  }

  /** Answers what the program printed when it succeeded. */
  async #run(program: string, invocation: Invocation): Promise<string> {
    const { command, signal } = invocation;
    const result = await runPatiently(program, signal, () =>
      run(program, [], {
        signal,
        input: invocation.input,
        env: { ...this.#environment, ...traceContext(), ...invocation.environment },
        outputLimit: OUTPUT_LIMIT + 1,
        excess: 'kill',
      }),
    );
    if (result.stdout.length > OUTPUT_LIMIT) {
      throw new CniError(CNI_ERROR.DECODING_FAILURE, `CNI plugin "${program}" failed ${command}`, {
        details: `it printed more than ${OUTPUT_LIMIT} bytes`,
      });
    }
    if (result.code !== 0) throw failureOf(program, command, result);
    return result.stdout.toString();
  }
}

interface Invocation {
  command: CniCommand;
  environment: Environment;
  input: string;
  signal: AbortSignal;
}

async function runPatiently(
  program: string,
  signal: AbortSignal,
  attempt: () => Promise<RunResult>,
): Promise<RunResult> {
  for (let retries = 0; ; retries++) {
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      const errno = (error instanceof Error && errnoOf(error.cause)) || errnoOf(error);
      if (errno !== 'ETXTBSY' || retries === BUSY_RETRIES) {
        throw new CniError(CNI_ERROR.IO_FAILURE, `Cannot run CNI plugin "${program}"`, {
          cause: error,
          ...(errno === 'EACCES' ? { hint: 'is the file executable?' } : {}),
        });
      }
      await sleep(BUSY_PAUSE, signal);
    }
  }
}

/** The variables of the specification, section 2, "Parameters": GC and STATUS have no attachment. */
function environmentOf(call: PluginCall): Environment {
  const general = { CNI_COMMAND: call.command, CNI_PATH: call.path.join(':') };
  if (call.command === 'GC' || call.command === 'STATUS') return general;
  return {
    ...general,
    CNI_CONTAINERID: call.containerId,
    CNI_NETNS: call.netns,
    CNI_IFNAME: call.ifname,
    CNI_ARGS: call.args,
  };
}

function formatInput(config: PluginConfig): string {
  const { prevResult, ...rest } = config;
  if (prevResult === undefined) return JSON.stringify(rest);
  return JSON.stringify({ ...rest, prevResult: formatResult(prevResult, config.cniVersion) });
}
