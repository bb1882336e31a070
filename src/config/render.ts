import { stringify } from 'smol-toml';
import { formatDuration, formatSize } from '../base/index.ts';
import { type Config, camelCase } from './config.ts';
import { ANY_NAME, type Setting, settings } from './settings.ts';

const LINE_WIDTH = 88;

/** A configuration file with each key, what it means and its default. */
export function defaultConfigToml(): string {
  const out = ['# Configuration of Keelson. All values are the defaults.', ''];
  let table = '';
  for (const setting of settings()) {
    const [name, key] = split(setting.path.map((part) => (part === ANY_NAME ? 'crun' : part)));
    if (name !== table) out.push(`[${name}]`, '');
    table = name;
    out.push(...wrap(describe(setting)));
    const value = setting.default === undefined ? exampleOf(setting) : setting.default;
    const line = stringify({ [key]: asWritten(setting, value) }).trimEnd();
    out.push(setting.default === undefined ? `# ${line}` : line, '');
  }
  return `${out.join('\n').trimEnd()}\n`;
}

/** The configuration in force as a TOML file that `loadConfig` reads to the same result. */
export function dumpConfig(config: Config): string {
  const tables = new Map<string, Record<string, unknown>>();
  for (const setting of settings()) {
    const names = setting.path.includes(ANY_NAME) ? Object.keys(config.runtimes) : [''];
    for (const name of names) {
      const path = setting.path.map((part) => (part === ANY_NAME ? name : part));
      const [table, key] = split(path);
      const value = valueAt(config, path);
      if (value === undefined) continue;
      const rows = tables.get(table) ?? {};
      rows[key] = asWritten(setting, value);
      tables.set(table, rows);
    }
  }
  return [...tables]
    .map(([table, rows]) => `${table === '' ? '' : `[${table}]\n`}${stringify(rows)}`)
    .join('\n');
}

/** What the reader needs to know about a key, in one paragraph. */
export function describe(setting: Setting): string {
  const choices = setting.choices?.map((choice) => `"${choice}"`).join(', ');
  return [
    setting.description,
    ...(choices === undefined ? [] : [`One of ${choices}.`]),
    ...(setting.derived === undefined ? [] : [`Default: ${setting.derived}.`]),
  ].join(' ');
}

function exampleOf(setting: Setting): unknown {
  const example = setting.example ?? '';
  return setting.kind === 'list' ? [example] : example;
}

function asWritten(setting: Setting, value: unknown): unknown {
  if (typeof value !== 'number') return value;
  if (setting.format === 'duration') return formatDuration(value);
  return setting.format === 'size' ? formatSize(value) : value;
}

function valueAt(config: Config, path: readonly string[]): unknown {
  let at: unknown = config;
  for (const key of path) {
    if (typeof at !== 'object' || at === null) return undefined;
    const table = at as Record<string, unknown>;
    at = Object.hasOwn(table, key) ? table[key] : table[camelCase(key)];
  }
  return at;
}

function split(path: readonly string[]): [table: string, key: string] {
  // A handler's name may hold a dot, which a bare TOML key may not.
  const table = path.slice(0, -1).map((part) => (part.includes('.') ? `"${part}"` : part));
  return [table.join('.'), path.at(-1) ?? ''];
}

function wrap(text: string): string[] {
  const lines: string[] = [];
  let line = '#';
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > LINE_WIDTH) {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}
