import type { Command } from 'commander';
import {
  type FilesystemUsage,
  ImageFsInfoResponse,
  ImageServiceService,
} from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import { humanSize, timestamp } from '../human.ts';
import { type Format, outputOption, print, printData, table } from '../output.ts';
import { protoJson } from '../proto-json.ts';

/** `keelson imagefsinfo`: how full the image store is. */
export function configure(command: Command, context: Context): void {
  outputOption(command, 'json').action(async ({ output }: { output: Format }) => {
    const cri = await context.cri();
    const answer = await cri.call(
      ImageServiceService.imageFsInfo,
      {},
      { action: 'Cannot ask for the use of the image store' },
    );
    if (output !== 'table') {
      const status = protoJson(ImageFsInfoResponse, answer);
      return printData(context.stdout, output, { status });
    }
    return print(
      context.stdout,
      table([
        ['FILESYSTEM', 'MOUNTPOINT', 'DISK', 'INODES', 'MEASURED'],
        ...answer.imageFilesystems.map((usage) => row('image', usage)),
        ...answer.containerFilesystems.map((usage) => row('container', usage)),
      ]),
    );
  });
}

function row(name: string, usage: FilesystemUsage): string[] {
  return [
    name,
    usage.fsId?.mountpoint ?? '',
    humanSize(usage.usedBytes?.value ?? 0n),
    String(usage.inodesUsed?.value ?? 0n),
    timestamp(usage.timestamp),
  ];
}
