import type { Command } from 'commander';
import {
  type Container,
  ContainerState,
  ImageServiceService,
  ListContainersResponse,
} from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import type { CriClient } from '../cri-client.ts';
import { filterOptions, NAME_LABEL, NAMESPACE_LABEL, stateOption } from '../filters.ts';
import { ago, truncatedId } from '../human.ts';
import { CONTAINER_STATES, type ContainerFilters, imageSpec, listContainers } from '../lists.ts';
import { type Format, outputOption, print, printData, table } from '../output.ts';
import { protoJson } from '../proto-json.ts';

interface Options extends ContainerFilters {
  quiet?: boolean;
  /** Unless --no-trunc. */
  trunc?: boolean;
  output: Format;
  resolveImagePath?: boolean;
}

const STATE_NAMES: Readonly<Record<ContainerState, string>> = {
  [ContainerState.CONTAINER_CREATED]: 'Created',
  [ContainerState.CONTAINER_RUNNING]: 'Running',
  [ContainerState.CONTAINER_EXITED]: 'Exited',
  [ContainerState.CONTAINER_UNKNOWN]: 'Unknown',
};

/** `keelson ps`: lists containers. */
export function configure(command: Command, context: Context): void {
  filterOptions(command, 'containers')
    .option('-a, --all', 'in all states, not only running ones')
    .option('--id <id>', 'only the container with this id or beginning of one')
    .option('-p, --pod <id>', 'only those of this pod')
    .option('--image <image>', 'only those that run this image')
    .option(
      '-s, --state <state>',
      'only those in this state: created, running, exited, unknown',
      (text: string) => stateOption(CONTAINER_STATES)(text),
    )
    .option('-q, --quiet', 'only the ids')
    .option('--no-trunc', 'whole ids')
    .option('-r, --resolve-image-path', 'show the tag of the image instead of its id');
  outputOption(command, 'table').action(async (options: Options) => {
    const cri = await context.cri();
    const containers = await listContainers(cri, options);
    if (options.quiet) return print(context.stdout, containers.map(({ id }) => `${id}\n`).join(''));
    if (options.output !== 'table') {
      const data = protoJson(ListContainersResponse, { containers });
      return printData(context.stdout, options.output, data);
    }
    const rows = await Promise.all(containers.map((container) => row(container, options, cri)));
    const head = ['CONTAINER', 'IMAGE', 'CREATED', 'STATE', 'NAME', 'ATTEMPT', 'POD ID', 'POD'];
    return print(context.stdout, table([[...head, 'NAMESPACE'], ...rows]));
  });
}

async function row(container: Container, options: Options, cri: CriClient): Promise<string[]> {
  const id = (whole: string) => ((options.trunc ?? true) ? truncatedId(whole) : whole);
  return [
    id(container.id),
    await imageName(container.image?.image ?? '', options, cri),
    ago(container.createdAt),
    STATE_NAMES[container.state] ?? 'Unknown',
    container.metadata?.name ?? '',
    String(container.metadata?.attempt ?? 0),
    id(container.podSandboxId),
    container.labels[NAME_LABEL] ?? 'unknown',
    container.labels[NAMESPACE_LABEL] ?? 'unknown',
  ];
}

async function imageName(image: string, options: Options, cri: CriClient): Promise<string> {
  if (options.resolveImagePath) {
    const status = await cri.call(
      ImageServiceService.imageStatus,
      { image: imageSpec(image), verbose: false },
      { action: `Cannot look up image "${image}"` },
    );
    const tag = status.image?.repoTags[0];
    if (tag !== undefined) return tag;
  }
  return (options.trunc ?? true) && image.startsWith('sha256:') ? truncatedId(image) : image;
}
