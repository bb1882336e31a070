import type { Command } from 'commander';
import type { Config } from '../config/index.ts';
import type { CniSettings, CniTool } from './cni-tool.ts';
import type { CriClient } from './cri-client.ts';
import type { CsiTool } from './csi-tool.ts';
import type { Output } from './output.ts';
import type { PullProgressSource } from './pull-progress.ts';

/** What the command line is given by the program that it is a part of. */
export interface Surroundings {
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stdout: Output;
  readonly stderr: Output;
  /** Aborts when the user or the system asks the program to end. */
  readonly signal: AbortSignal;
  /** Runs the daemon until the signal aborts. */
  serve(config: Config, signal: AbortSignal): Promise<void>;
  /** The types of CNI plugins that the daemon has built in. */
  builtinPlugins?(): Promise<readonly string[]>;
  /** The CNI engine in this process, for `keelson cni`. */
  cniTool?(settings: CniSettings): Promise<CniTool>;
  /** CSI drivers in this process, for `keelson csi`. */
  csiTool?(): Promise<CsiTool>;
  /** Reports how far pulls are; without it only their time is shown. */
  readonly pullProgress?: PullProgressSource;
}

/** What a command works with. */
export interface Context extends Surroundings {
  /** The client of the CRI socket that the global options name. */
  cri(): Promise<CriClient>;
  /** The program with the arguments and options of all commands, which are else read lazily. */
  wholeProgram(): Promise<Command>;
  /** Makes the program end with this code; a later, smaller problem does not hide an earlier one. */
  fail(code: number): void;
}

/** A file of `commands/`: adds arguments, options and the action to its command. */
export interface CommandModule {
  configure(command: Command, context: Context): void;
}
