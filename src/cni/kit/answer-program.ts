import { KeelsonError } from '../../base/index.ts';
import { callPlugin } from '../engine/call-plugin.ts';
import {
  CNI_ERROR,
  CNI_VERSIONS,
  CniError,
  type CniResult,
  type CniVersion,
  cniErrorOf,
  formatError,
  formatResult,
  isAtLeast,
  NEWEST_VERSION,
  type PluginInvoker,
} from '../spec/index.ts';
import type { PluginProgram } from './plugin-program.ts';
import { type ProgramInput, readCall, readCommand, versionIn } from './program-input.ts';

/** What a plugin program prints, and how it ends. */
export interface ProgramAnswer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface AnswerOptions {
  /** Runs the plugins that this one delegates to. */
  readonly delegates: PluginInvoker;
  readonly signal: AbortSignal;
}

/**
 * What a plugin program does from its start to its end (CNI specification, section 2),
 * without the process: tests of a plugin may call it. Never fails: an error is an answer.
 */
export async function answerProgram(
  program: PluginProgram,
  input: ProgramInput,
  options: AnswerOptions,
): Promise<ProgramAnswer> {
  const supportedVersions = program.supportedVersions ?? CNI_VERSIONS;
  if ((input.env['CNI_COMMAND'] ?? '') === '' && program.about !== undefined) {
    const versions = supportedVersions.join(', ');
    return said({ stderr: `${program.about}\nCNI protocol versions supported: ${versions}\n` });
  }
  const version = versionIn(input.text);
  try {
    const command = readCommand(input);
    if (command === 'VERSION') {
      return printed({ cniVersion: version ?? NEWEST_VERSION, supportedVersions });
    }
    const { type } = program;
    const call = readCall(command, input, { type, signal: options.signal });
    const plugin = { ...methodsOf(program), supportedVersions };
    const result = await callPlugin(plugin, call, options.delegates);
    return result === undefined ? said({}) : printed(resultFor(result, call.config.cniVersion));
  } catch (error) {
    const object = formatError(error, version ?? NEWEST_VERSION);
    return { ...printed(object), code: 1, stderr: traceOf(error) };
  }
}

/** Before 0.3.0 a result is an address: a runtime of that time takes no other for a success. */
function resultFor(result: CniResult, version: CniVersion): object {
  if (result.ips.length === 0 && !isAtLeast(version, '0.3.0')) {
    throw new CniError(CNI_ERROR.INTERNAL, `cannot convert the result to version ${version}`, {
      details: 'it has no IP address',
    });
  }
  return formatResult(result, version);
}

/** The methods with their receiver, which an object that is spread would lose. */
function methodsOf(program: PluginProgram): PluginProgram {
  return {
    add: (call, delegates) => program.add(call, delegates),
    del: (call, delegates) => program.del(call, delegates),
    check: (call, delegates) => program.check(call, delegates),
    gc: async (call, delegates) => program.gc?.(call, delegates),
    status: async (call, delegates) => program.status?.(call, delegates),
  };
}

function printed(object: object): ProgramAnswer {
  return said({ stdout: `${JSON.stringify(object)}\n` });
}

function said(words: { stdout?: string; stderr?: string }): ProgramAnswer {
  return { code: 0, stdout: '', stderr: '', ...words };
}

/** Where an error comes from that nobody expected. */
function traceOf(error: unknown): string {
  if (error instanceof KeelsonError || cniErrorOf(error) !== undefined) return '';
  return error instanceof Error ? `${error.stack}\n` : `${String(error)}\n`;
}
