import { type Command, Option } from 'commander';
import { askAdminJson, authHeader } from '../admin-client.ts';
import type { Context } from '../context.ts';
import { type CredentialOptions, credentialOptions, credentialsOf } from '../credentials.ts';
import { humanSize } from '../human.ts';
import { loadImages, saveImages } from '../image-archives.ts';
import { type Format, outputOption, print, printData, table } from '../output.ts';

/** `keelson image`: what CRI has no calls for. */
export function configure(command: Command, context: Context): void {
  configureExplain(command.command('explain'), context);
  configureLoad(command.command('load'), context);
  configureSave(command.command('save'), context);
  configurePrune(command.command('prune'), context);
}

interface ExplainOptions extends CredentialOptions {
  output: Format;
}

/** An endpoint, as the admin server tells of it. */
interface Endpoint {
  readonly url: string;
  readonly repository: string;
  readonly can: readonly string[];
  readonly skipVerify: boolean;
  readonly source: string;
  readonly credentials: string;
}

function configureExplain(command: Command, context: Context): void {
  outputOption(credentialOptions(command), 'table')
    .description('Show where a pull would ask, in which order, as whom and why; asks nobody')
    .argument('<reference>', 'NAME[:TAG][@DIGEST]')
    .action(async (reference: string, options: ExplainOptions) => {
      const auth = await credentialsOf(options, context);
      const endpoints = await askAdminJson<Endpoint[]>(await context.cri(), {
        path: `/images/explain?${new URLSearchParams({ reference })}`,
        headers: authHeader(auth),
        signal: context.signal,
      });
      if (options.output === 'table') await print(context.stdout, endpointTable(endpoints));
      else await printData(context.stdout, options.output, endpoints);
    });
}

function endpointTable(endpoints: readonly Endpoint[]): string {
  return table([
    ['ENDPOINT', 'FOR', 'TLS', 'CREDENTIALS', 'CONFIGURED IN'],
    ...endpoints.map(({ url, repository, can, skipVerify, credentials, source }) => [
      `${url}/${repository}`,
      can.join(', '),
      url.startsWith('http:') ? 'none' : skipVerify ? 'not verified' : 'verified',
      credentials,
      source,
    ]),
  ]);
}

function configureLoad(command: Command, context: Context): void {
  command
    .description('Load the images of an OCI archive, or of one of "docker save"')
    .option('-i, --input <file>', 'the archive, plain or compressed (default: stdin)')
    .action(async ({ input }: { input?: string }) => {
      for (const { id, repoTags } of await loadImages(context, input)) {
        const names = repoTags.length > 0 ? repoTags : [id];
        await print(context.stdout, names.map((name) => `Loaded: ${name}\n`).join(''));
      }
    });
}

interface SaveOptions extends CredentialOptions {
  output?: string;
  format: 'oci' | 'docker';
}

function configureSave(command: Command, context: Context): void {
  const format = new Option('--format <format>', 'an OCI layout, or what "docker load" reads')
    .choices(['oci', 'docker'])
    .default('oci');
  credentialOptions(command)
    .description('Write images to one archive')
    .argument('<image...>', 'names, digests or ids')
    .option('-o, --output <file>', 'where to (default: stdout)')
    .addOption(format)
    .action(async (references: string[], { output, format, ...credentials }: SaveOptions) => {
      const auth = await credentialsOf(credentials, context);
      const to = output === undefined ? {} : { output };
      await saveImages(context, references, { ...to, format, auth });
    });
}

interface Pruned {
  readonly removed: readonly string[];
  /** Bytes. */
  readonly freed: Readonly<Record<string, number>>;
}

function configurePrune(command: Command, context: Context): void {
  command
    .description('Remove images without a name that no container uses, and unfinished downloads')
    .option('-a, --all', 'also images with a name')
    .action(async ({ all = false }: { all?: boolean }) => {
      const { removed, freed } = await askAdminJson<Pruned>(await context.cri(), {
        method: 'POST',
        path: `/images/prune${all ? '?all' : ''}`,
        signal: context.signal,
      });
      const bytes = Object.values(freed).reduce((sum, each) => sum + each, 0);
      const lines = [...removed.map((id) => `Deleted: ${id}`), `Freed: ${humanSize(bytes)}`];
      await print(context.stdout, lines.map((line) => `${line}\n`).join(''));
    });
}
