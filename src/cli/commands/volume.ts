import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import { during, sleep } from '../../base/index.ts';
import type { Context } from '../context.ts';
import { usageError } from '../failures.ts';
import { forEachId } from '../many.ts';
import { type Format, outputOption, print, printData, table } from '../output.ts';
import { type ClaimOptions, claimManifest, snapshotManifest } from '../volume-manifests.ts';
import {
  applyObjects,
  deleteObject,
  listObjects,
  type ObjectRef,
  objectRef,
  reportOf,
  timedOut,
} from '../volume-objects.ts';
import { reportLines, volumeRows } from '../volume-tables.ts';

/** Milliseconds between two looks at an object that is waited for. */
const POLL = 100;

/** `keelson volume`: claims, volumes, classes and snapshots. */
export function configure(command: Command, context: Context): void {
  listCommand(command, context);
  createCommand(command, context);
  removeCommand(command, context);
  inspectCommand(command, context);
  snapshotCommand(command, context);
  expandCommand(command, context);
  applyCommand(command, context);
}

function namespaced(command: Command): Command {
  return command.option('--namespace <namespace>', 'namespace of claims and snapshots', 'default');
}

function waiting(command: Command): Command {
  return command.option(
    '--wait <seconds>',
    'how long to wait until it is done, 0 not at all',
    seconds,
    60,
  );
}

function seconds(value: string): number {
  const number = Number(value);
  if (!Number.isFinite(number) || number < 0) throw usageError(`"${value}" are no seconds`);
  return number;
}

function listCommand(command: Command, context: Context): void {
  const list = command
    .command('ls')
    .description('List claims, volumes, classes and snapshots')
    .option('--kind <kind>', 'only those of one kind, such as claim, volume, class or snapshot');
  outputOption(list, 'table').action(
    async ({ kind, output }: { kind?: string; output: Format }) => {
      const wanted = kind === undefined ? undefined : objectRef(`${kind}/x`, '').kind;
      const objects = (await listObjects(context)).filter(
        (each) => wanted === undefined || each.kind === wanted,
      );
      if (output !== 'table') return printData(context.stdout, output, objects);
      await print(context.stdout, table(volumeRows(objects)));
    },
  );
}

function createCommand(command: Command, context: Context): void {
  waiting(namespaced(command.command('create')))
    .description('Make a claim, and with it a volume')
    .argument('<claim>', 'name of the claim')
    .requiredOption('-s, --size <quantity>', 'how large at least, such as 5Gi')
    .option('--class <name>', 'storage class (default: the default class)')
    .addOption(
      new Option('--mode <mode>', 'who may use it')
        .choices(['ReadWriteOnce', 'ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOncePod'])
        .default('ReadWriteOnce'),
    )
    .option('--block', 'a raw block device in place of a file system')
    .option('--from <source>', 'its content: a claim, or snapshot/NAME')
    .option('--volume <name>', 'the volume to bind, which is there already')
    .action(async (name: string, options: ClaimOptions & { wait: number }) => {
      await applyObjects(context, JSON.stringify(claimManifest(name, options)));
      const ref = objectRef(name, options.namespace);
      await waitFor(context, ref, options.wait, ({ phase, pending }) => {
        return phase === 'Bound' || pending;
      });
      await print(context.stdout, `${name}\n`);
    });
}

interface Seen {
  readonly phase: unknown;
  readonly ready: boolean;
  /** It waits for the first pod that uses it, and that is as it should be. */
  readonly pending: boolean;
}

async function waitFor(
  context: Context,
  ref: ObjectRef,
  wait: number,
  done: (seen: Seen) => boolean,
): Promise<void> {
  const end = Date.now() + wait * 1000;
  while (wait > 0) {
    const report = await reportOf(context, ref);
    const { status } = report.object;
    const seen = {
      phase: status?.['phase'],
      ready: status?.['readyToUse'] === true,
      pending: report.events.some(({ reason }) => reason === 'WaitForFirstConsumer'),
    };
    if (done(seen)) return;
    if (Date.now() > end) throw timedOut(`${ref.kind} "${ref.name}" is not ready yet`, report);
    await sleep(POLL, context.signal);
  }
}

function removeCommand(command: Command, context: Context): void {
  waiting(namespaced(command.command('rm')))
    .description('Remove claims with their volumes, or other objects')
    .argument('<object...>', 'NAME of a claim, or KIND/NAME')
    .action(async (names: string[], options: { namespace: string; wait: number }) => {
      await forEachId(names, context, async (name) => {
        const ref = objectRef(name, options.namespace);
        if (!(await deleteObject(context, ref))) await untilGone(context, ref, options.wait);
        return `Removed ${name}\n`;
      });
    });
}

async function untilGone(context: Context, ref: ObjectRef, wait: number): Promise<void> {
  const end = Date.now() + wait * 1000;
  while (wait > 0) {
    const { kind, name, namespace } = ref;
    const there = (await listObjects(context)).some(
      (each) =>
        each.kind === kind &&
        each.metadata.name === name &&
        (each.metadata.namespace ?? namespace) === namespace,
    );
    if (!there) return;
    if (Date.now() > end) {
      throw timedOut(`${kind} "${name}" has yet to go`, await reportOf(context, ref));
    }
    await sleep(POLL, context.signal);
  }
}

function inspectCommand(command: Command, context: Context): void {
  const inspect = namespaced(command.command('inspect'))
    .description('Show all about an object: what belongs to it, what happened, how full it is')
    .argument('<object>', 'NAME of a claim, or KIND/NAME');
  outputOption(inspect, 'yaml').action(
    async (name: string, { namespace, output }: { namespace: string; output: Format }) => {
      const report = await reportOf(context, objectRef(name, namespace));
      if (output !== 'table') return printData(context.stdout, output, report);
      await print(context.stdout, reportLines(report));
    },
  );
}

function snapshotCommand(command: Command, context: Context): void {
  waiting(namespaced(command.command('snapshot')))
    .description('Cut a snapshot of the volume of a claim')
    .argument('<claim>', 'the claim')
    .argument('[name]', 'name of the snapshot (default: the claim and the time)')
    .option('--class <name>', 'snapshot class (default: the default one of the driver)')
    .action(
      async (
        claim: string,
        given: string | undefined,
        options: { namespace: string; class?: string; wait: number },
      ) => {
        const name =
          given ?? `${claim}-${new Date().toISOString().replace(/\D/g, '').slice(0, 14)}`;
        await applyObjects(context, JSON.stringify(snapshotManifest(name, claim, options)));
        const ref = objectRef(`snapshot/${name}`, options.namespace);
        await waitFor(context, ref, options.wait, ({ ready }) => ready);
        await print(context.stdout, `${name}\n`);
      },
    );
}

function expandCommand(command: Command, context: Context): void {
  namespaced(command.command('expand'))
    .description('Ask for a larger volume')
    .argument('<claim>', 'the claim')
    .argument('<size>', 'how large at least, such as 10Gi')
    .action(async (claim: string, size: string, { namespace }: { namespace: string }) => {
      const { object } = await reportOf(context, objectRef(claim, namespace));
      const { apiVersion, kind, spec } = object;
      const resources = { ...(spec?.['resources'] as object), requests: { storage: size } };
      const manifest = {
        apiVersion,
        kind,
        metadata: { name: claim, namespace },
        spec: { ...spec, resources },
      };
      const [applied] = await applyObjects(context, JSON.stringify(manifest));
      await print(context.stdout, `${claim} ${applied?.result ?? 'unchanged'}\n`);
    });
}

function applyCommand(command: Command, context: Context): void {
  command
    .command('apply')
    .description('Store the objects of a file of manifests, as "kubectl apply" does')
    .requiredOption('-f, --file <file>', 'YAML or JSON; "-" reads stdin')
    .action(async ({ file }: { file: string }) => {
      const manifests = await readManifests(file, context);
      for (const { kind, name, result } of await applyObjects(context, manifests)) {
        await print(context.stdout, `${kind} ${name} ${result}\n`);
      }
    });
}

async function readManifests(file: string, context: Context): Promise<string> {
  if (file === '-') return text(context.stdin as NodeJS.ReadableStream);
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw during(`Cannot read "${file}"`, error);
  }
}
