import type { Command } from 'commander';
import { codeOf, KeelsonError, parseDuration } from '../../base/index.ts';
import { ContainerState } from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import type { CriClient } from '../cri-client.ts';
import { usageError } from '../failures.ts';
import { count } from '../filters.ts';
import { printLog } from '../log-print.ts';
import { containerStatus } from '../status.ts';

interface Options {
  follow?: boolean;
  tail?: number;
  since?: number;
  timestamps?: boolean;
}

/** `keelson logs`: shows the log of a container, which is a file on this host. */
export function configure(command: Command, context: Context): void {
  command
    .argument('<container>', 'its id, or the beginning of it')
    .option('-f, --follow', 'go on until the container ends, also when the log is rotated')
    .option('--tail <lines>', 'only the last lines', count)
    .option('--since <time>', 'only from then on: RFC 3339, Unix seconds, or such as 5m', moment)
    .option('-t, --timestamps', 'show when each line was written')
    .action(async (id: string, options: Options) => {
      const cri = await context.cri();
      const { status } = await containerStatus(cri, id);
      const path = status?.logPath;
      const action = `Cannot show the log of container "${id}"`;
      if (!path) {
        throw new KeelsonError('FAILED_PRECONDITION', action, {
          reason: 'the container or its pod was created without a log path',
        });
      }
      if (!cri.local) {
        throw new KeelsonError('FAILED_PRECONDITION', action, {
          reason: `it is the file "${path}" on the host of the daemon`,
        });
      }
      await printLog(path, {
        tail: options.tail,
        since: options.since,
        follow: options.follow ?? false,
        timestamps: options.timestamps ?? false,
        ended: async () => !(await isAlive(cri, status.id)),
        ...context,
      });
    });
}

async function isAlive(cri: CriClient, id: string): Promise<boolean> {
  try {
    const { status } = await containerStatus(cri, id);
    return (
      status?.state === ContainerState.CONTAINER_RUNNING ||
      status?.state === ContainerState.CONTAINER_CREATED
    );
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return false;
    throw error;
  }
}

/** A time in Unix milliseconds, from RFC 3339, Unix seconds, or a duration before now. */
export function moment(text: string): number {
  const ago = parseDuration(text);
  if (ago !== undefined && text !== '0') return Date.now() - ago;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) {
    throw usageError(`"${text}" is no time: write such as 2024-05-01T12:00:00Z, or 5m`);
  }
  return time;
}
