import { fstatSync, readSync } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import { errnoOf, KeelsonError, sleep } from '../../base/index.ts';
import { ExecInvoker } from '../engine/exec-invoker.ts';
import {
  CNI_ERROR,
  type CniCommand,
  CniError,
  formatError,
  NEWEST_VERSION,
  type PluginInvoker,
} from '../spec/index.ts';
import { answerProgram, type ProgramAnswer } from './answer-program.ts';
import type { PluginProgram } from './plugin-program.ts';
import { readCommand } from './program-input.ts';

/** Bytes that the configuration may have: a GC names every attachment. */
const LARGEST_INPUT = 64 * 1024 * 1024;

/** Milliseconds for which VERSION waits for standard input. */
const PATIENCE = 200;

/** Milliseconds until standard input that has nothing yet is read again. */
const INPUT_PAUSE = 2;

/**
 * Makes this process a CNI plugin: reads the call from environment and standard input,
 * has the plugin answer it, prints the result or the error, and ends the process.
 *
 *     await servePlugin({ add, del, check, about: 'my plugin' });
 *
 * SIGTERM and SIGINT abort the call's signal. `delegates` runs the plugins that this one
 * delegates to; left out, they are programs of CNI_PATH.
 */
export async function servePlugin(
  program: PluginProgram,
  delegates: PluginInvoker = new ExecInvoker(),
): Promise<never> {
  process.on('uncaughtException', (error) => void end(accident(error)));
  const command = commandOf(process.env);
  const text =
    command === undefined ? '' : command === 'VERSION' ? await readOffered() : await readInput();
  if (typeof text !== 'string') return await end(text);
  const signal = terminated();
  return await end(await answerProgram(program, { env: process.env, text }, { delegates, signal }));
}

/** Undefined where the environment is not complete: that is told without waiting for input. */
function commandOf(env: NodeJS.ProcessEnv): CniCommand | undefined {
  try {
    return readCommand({ env, text: '' });
  } catch {
    return undefined;
  }
}

/**
 * The JSON that VERSION may be given on standard input. Who asks by hand gives none, and
 * leaves it open.
 */
async function readOffered(): Promise<string> {
  let text = '';
  try {
    for await (const chunk of addAbortSignal(AbortSignal.timeout(PATIENCE), process.stdin)) {
      text += chunk;
      if (text.length > LARGEST_INPUT || isJson(text)) break;
    }
  } catch {
    // None, or none in time: the versions can be told all the same.
  }
  return text;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** All of standard input: read at once, because a stream for it would take longer to set up. */
async function readInput(): Promise<string | ProgramAnswer> {
  const chunks: Buffer[] = [];
  for (let size = 0; size <= LARGEST_INPUT; ) {
    const chunk = Buffer.allocUnsafe(64 * 1024);
    const count = readSome(chunk);
    if (count === undefined) await sleep(INPUT_PAUSE);
    else if (count === 0) return Buffer.concat(chunks).toString();
    else {
      chunks.push(chunk.subarray(0, count));
      size += count;
    }
  }
  return failure(
    new CniError(CNI_ERROR.IO_FAILURE, 'cannot read the network configuration', {
      details: `it has more than ${LARGEST_INPUT} bytes`,
    }),
  );
}

/** Answers the number of bytes, 0 at the end, undefined if there is nothing yet. */
function readSome(chunk: Buffer): number | undefined {
  try {
    return readSync(0, chunk);
  } catch (error) {
    if (errnoOf(error) === 'EAGAIN') return undefined;
    // Standard input that is closed, or a directory, holds no configuration.
    if (errnoOf(error) === 'EOF' || !isOpen(0) || errnoOf(error) === 'EISDIR') return 0;
    throw error;
  }
}

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

function terminated(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      controller.abort(new KeelsonError('CANCELLED', `The plugin was ended by ${signal}`));
    });
  }
  return controller.signal;
}

/** The answer to an error that came up beside the call: a bug in the plugin. */
function accident(error: unknown): ProgramAnswer {
  const trace = error instanceof Error ? `${error.stack}\n` : '';
  return { ...failure(error), stderr: trace };
}

function failure(error: unknown): ProgramAnswer {
  const stdout = `${JSON.stringify(formatError(error, NEWEST_VERSION))}\n`;
  return { code: 1, stdout, stderr: '' };
}

/** Ends the process when all is written, also if something of the plugin is still open. */
async function end({ code, stdout, stderr }: ProgramAnswer): Promise<never> {
  try {
    if (stderr !== '') await written(process.stderr, stderr);
    if (stdout !== '') await written(process.stdout, stdout);
  } catch {
    // Nobody listens: what was made must be undone by the DEL that follows.
    process.exit(1);
  }
  process.exit(code);
}

function written(output: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    output.on('error', reject);
    output.write(text, (error) => (error ? reject(error) : resolve()));
  });
}
