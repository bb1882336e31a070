import { createHash } from 'node:crypto';
import { KeelsonError } from '../../base/index.ts';
import { lockFile, run } from '../../linux/index.ts';
import type { PluginCall } from '../spec/index.ts';

/** The program of a family, as distributions name it. */
const PROGRAMS = { 4: 'iptables', 6: 'ip6tables' } as const;

export type IpFamily = keyof typeof PROGRAMS;

const CHAIN_LENGTH = 28;
const COMMENT_LENGTH = 255;
const OUTPUT_LIMIT = 64 * 1024 * 1024;
/** Not xtables.lock, which the programs themselves wait for. */
const LOCK = '/run/keelson-iptables.lock';

/** A rule as iptables-save(8) prints it: `-A CHAIN …`, without the `-A CHAIN`. */
export interface SavedRule {
  readonly chain: string;
  readonly text: string;
}

/** A table as it is now. */
export interface SavedTable {
  readonly chains: ReadonlySet<string>;
  readonly rules: readonly SavedRule[];
}

export function familyOf(ip: Uint8Array): IpFamily {
  return ip.length === 4 ? 4 : 6;
}

/** The chain of one container: `CNI-`, a prefix and a hash, as the reference plugins name it. */
export function containerChain(prefix: string, network: string, containerId: string): string {
  const hash = createHash('sha512').update(`${network}${containerId}`).digest('hex');
  return `CNI-${prefix}${hash}`.slice(0, CHAIN_LENGTH);
}

/** Quotes a comment for iptables-restore(8). */
export function quoteComment(text: string): string {
  const cut = text.slice(0, COMMENT_LENGTH);
  return `"${cut.replaceAll(/[\\"]/g, '\\$&').replaceAll(/[\r\n\0]/g, ' ')}"`;
}

/** Reads a table with iptables-save(8). */
export async function saveTable(
  family: IpFamily,
  table: 'nat' | 'filter',
  signal: AbortSignal,
): Promise<SavedTable> {
  const output = await runProgram(`${PROGRAMS[family]}-save`, ['-t', table], { signal });
  return parseTable(output);
}

export function parseTable(output: string): SavedTable {
  const chains = new Set<string>();
  const rules: SavedRule[] = [];
  for (const line of output.split('\n')) {
    const chain = /^:(\S+)/.exec(line)?.[1];
    if (chain !== undefined) chains.add(chain);
    const rule = /^(?:\[\d+:\d+\] )?-A (\S+) (.*)$/.exec(line);
    if (rule?.[1] !== undefined) rules.push({ chain: rule[1], text: rule[2] ?? '' });
  }
  return { chains, rules };
}

/** Whether a rule ends in a chain. */
export function leadsTo(rule: SavedRule, chain: string): boolean {
  return new RegExp(`(^| )-[jg] ${chain}( |$)`).test(rule.text);
}

/**
 * Changes a table by what `plan` makes of it as it is: lines of iptables-restore(8), which
 * are carried out all or none. A chain that is declared (`:NAME - [0:0]`) is made, or
 * emptied. No other plugin of Keelson, in whatever process, changes tables meanwhile.
 */
export async function editTable(
  family: IpFamily,
  table: 'nat' | 'filter',
  plan: (present: SavedTable) => readonly string[],
  signal: AbortSignal,
): Promise<void> {
  await using _held = await lockFile(LOCK, 'exclusive', signal);
  const lines = plan(await saveTable(family, table, signal));
  if (lines.length === 0) return;
  const input = `*${table}\n${lines.join('\n')}\nCOMMIT\n`;
  await runProgram(`${PROGRAMS[family]}-restore`, ['--noflush', '-w'], { signal, input });
}

/** The lines that remove chains, and every rule that leads to one of them. */
export function removeChains(table: SavedTable, chains: readonly string[]): string[] {
  const present = chains.filter((chain) => table.chains.has(chain));
  const jumps = table.rules.filter(
    (rule) => !present.includes(rule.chain) && present.some((chain) => leadsTo(rule, chain)),
  );
  return [
    ...jumps.map((rule) => `-D ${rule.chain} ${rule.text}`),
    ...present.map((chain) => `-F ${chain}`),
    ...present.map((chain) => `-X ${chain}`),
  ];
}

/** Rules of containers begin their comments so: for masquerading, or for host ports. */
export type CommentPrefix = '' | 'dnat ';

/** The comment of a container's rules, from which GC knows whose they are. */
export function containerComment(prefix: CommentPrefix, call: PluginCall): string {
  return quoteComment(`${prefix}name: "${call.config.name}" id: "${call.containerId}"`);
}

/** Removes the chains of the call's network whose container is not valid any more. */
export async function collectChains(prefix: CommentPrefix, call: PluginCall): Promise<void> {
  const valid = new Set(
    (call.config['cni.dev/valid-attachments'] ?? []).map(({ containerID }) => containerID),
  );
  for (const family of [4, 6] as const) {
    const stray = (table: SavedTable) =>
      strayChains(table, { prefix, network: call.config.name, valid });
    await editTable(family, 'nat', (table) => removeChains(table, stray(table)), call.signal);
  }
}

/** The chains that rules of a network's containers lead to, unless the container is valid. */
export function strayChains(
  table: SavedTable,
  owners: { prefix: CommentPrefix; network: string; valid: ReadonlySet<string> },
): string[] {
  const chains = table.rules.flatMap(({ text }) => {
    const comment = /--comment "(dnat )?name: \\"(.+?)\\" id: \\"(.+?)\\""/.exec(text);
    const chain = / -j (CNI-[\w-]+)/.exec(text)?.[1];
    if (comment === null || chain === undefined) return [];
    const [, prefix = '', network, id = ''] = comment;
    return prefix === owners.prefix && network === owners.network && !owners.valid.has(id)
      ? [chain]
      : [];
  });
  return [...new Set(chains)];
}

async function runProgram(
  program: string,
  args: readonly string[],
  options: { signal: AbortSignal; input?: string },
): Promise<string> {
  const result = await run(program, args, { ...options, outputLimit: OUTPUT_LIMIT });
  if (result.code === 0) return result.stdout.toString();
  throw new KeelsonError('FAILED_PRECONDITION', `Cannot run "${program} ${args.join(' ')}"`, {
    reason: result.stderr.toString().trim() || `it ended with ${result.code ?? result.signal}`,
  });
}
