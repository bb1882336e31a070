import type { Command } from 'commander';
import type { Context } from './context.ts';
import type { CriClient } from './cri-client.ts';
import { usageError } from './failures.ts';
import { forEachId } from './many.ts';
import { type Format, outputOption } from './output.ts';
import { printDetails, printStatuses, statusData } from './status-data.ts';

type Details = Parameters<typeof printDetails>[1];

/** What `inspect`, `inspectp` and `inspecti` do alike. */
export interface Inspection<Answer, Options> {
  /** Of one thing; fails with NOT_FOUND. */
  ask(cri: CriClient, id: string, verbose: boolean): Promise<Answer>;
  /** The status as JSON, and the daemon's own information. */
  data(answer: Answer): { status: unknown; info: Readonly<Record<string, string>> };
  /** The same for people. */
  details(answer: Answer): Details;
  /** The ids that the filters find when none is given. */
  find?(cri: CriClient, options: Options): Promise<readonly string[]>;
  /** Why it is as it is, in a paragraph, for `--why`. */
  explain?(cri: CriClient, id: string): Promise<string>;
}

/** Adds the action and the options that the three have in common. */
export function inspectAction<Answer, Options>(
  command: Command,
  context: Context,
  inspection: Inspection<Answer, Options>,
): void {
  outputOption(command, 'json').option('-q, --quiet', "without the daemon's own information");
  command.action(
    async (
      given: string[],
      options: Options & { output: Format; quiet?: boolean; why?: boolean },
    ) => {
      const cri = await context.cri();
      const ids = given.length > 0 ? given : ((await inspection.find?.(cri, options)) ?? []);
      if (ids.length === 0) throw usageError('Nothing to inspect: no id given, none found');
      const { explain } = inspection;
      if (options.why && explain !== undefined) {
        return forEachId(ids, context, async (id) => `${await explain(cri, id)}\n`);
      }
      const answers = new Map<string, Answer>();
      await forEachId(ids, context, async (id) => {
        answers.set(id, await inspection.ask(cri, id, !options.quiet));
        return '';
      });
      const found = ids.flatMap((id) => answers.get(id) ?? []);
      if (options.output === 'table') {
        for (const answer of found) await printDetails(context, inspection.details(answer));
        return;
      }
      const data = found.map((answer) => {
        const { status, info } = inspection.data(answer);
        return statusData(status, info);
      });
      await printStatuses(context, options.output, data);
    },
  );
}
