import type { Command } from 'commander';
import { loadConfig, readConfig } from '../../config/index.ts';
import type { Context } from '../context.ts';
import { examineHost, type Finding } from '../doctor/index.ts';
import { EXIT } from '../exit-codes.ts';
import { type Format, outputOption, print, printData, table } from '../output.ts';
import { configSources, type ServeOptions, serveOptions } from '../serve-options.ts';

/** `keelson doctor`: what this host has and lacks. */
export function configure(command: Command, context: Context): void {
  outputOption(serveOptions(command), 'table').action(
    async ({ output, ...options }: ServeOptions & { output: Format }) => {
      const { config, problems } = await readConfig(configSources(options, context.env));
      const findings: Finding[] = problems.map((problem) => ({
        level: 'missing',
        subject: 'configuration',
        detail: problem,
        remedy: 'correct it, see "keelson config default"',
      }));
      // Without a configuration that can be used, the host is still worth a look.
      const usable = config ?? (await loadConfig({ file: '/dev/null' }));
      const path = context.env['PATH'] ?? '';
      const builtinPlugins = (await context.builtinPlugins?.()) ?? [];
      const { signal } = context;
      const host = await examineHost({ config: usable, path, builtinPlugins, signal });
      findings.push(...host);
      if (output === 'table') await print(context.stdout, lines(findings));
      else await printData(context.stdout, output, { findings });
      if (findings.some(({ level }) => level === 'missing')) context.fail(EXIT.error);
    },
  );
}

/** One line for each finding, its remedy below. */
function lines(findings: readonly Finding[]): string {
  const rows = table(findings.map(({ level, subject, detail }) => [level, subject, detail]));
  return rows
    .split('\n')
    .map((row, index) => {
      const remedy = findings[index]?.remedy;
      return remedy === undefined ? row : `${row}\n         → ${remedy}`;
    })
    .join('\n');
}
