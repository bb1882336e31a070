import { link, lstat, readFile, rename, rm } from 'node:fs/promises';
import { ifExists, messageOf, NEVER, Steps, sleep } from '../base/index.ts';
import { isSameFile } from '../linux/index.ts';
import { MonitorLog, pauses } from '../oci/runtime/index.ts';
import { containerPaths } from './container-paths.ts';
import { partRest, unfinishedStreams } from './log-records.ts';
import {
  moveRecorded,
  openRegular,
  type RotationFiles,
  recordMove,
  rotationFiles,
} from './log-rotation.ts';
import type { Pods } from './pods.ts';
import type { ContainerRecord } from './records.ts';

/** How long the rest of a line that is under way is waited for, in milliseconds. */
const REST_PATIENCE = 2_000;

/** Bytes of the next file within which a line under way must end. */
const REST_LIMIT = 8 << 20;

/** Bytes at the end of a log within which a line under way is looked for. */
const END_BYTES = 256 << 10;

/**
 * Ends a rotation, wherever it stands: what the monitor writes is at the log's path afterwards,
 * beginning with a whole line, and nothing else is left. Nothing to do where none was begun.
 */
export async function finishRotation(
  pods: Pods,
  container: ContainerRecord,
  signal: AbortSignal = NEVER,
): Promise<void> {
  if (container.logPath === undefined) return;
  const files = rotationFiles(pods, container.id, container.logPath);
  if ((await ifExists(lstat(files.next))) !== undefined) {
    const log = await MonitorLog.find(pods.conmon, containerPaths(pods, container.id).bundle);
    const logger = pods.logger.child({ containerId: container.id });
    await using steps = new Steps('finish-log-rotation', logger);
    const isUsed = await mayBeWritten(files, log);
    try {
      // One that was cut short.
      await moveRecorded(files);
      if (isUsed && log !== undefined) await joinLine({ files, log, steps }, signal);
    } catch (error) {
      logger.warn({ error }, `a line goes on in the next log file: ${messageOf(error)}`);
    } finally {
      log?.release();
    }
    if (isUsed) await steps.run('put next file in place', () => putInPlace(files));
  }
  await rm(files.move, { force: true });
  await rm(files.old, { force: true });
  await rm(files.next, { force: true });
}

interface Joining {
  files: RotationFiles;
  log: MonitorLog;
  steps: Steps;
}

/** Moves the rest of a line that the old file ends with to there, if it comes in time. */
async function joinLine({ files, log, steps }: Joining, signal: AbortSignal): Promise<void> {
  await using old = await openRegular(files.old);
  if (old === undefined) return;
  const { size } = await old.stat();
  const end = Buffer.alloc(Math.min(size, END_BYTES));
  await old.read(end, 0, end.length, size - end.length);
  const unfinished = unfinishedStreams(end, end.length === size);
  if (unfinished.size === 0) return;
  if (!(await restCame({ files, log, unfinished }, signal))) return;
  if (!(await steps.run('make monitor append', () => log.append())) && !log.ended) return;
  using held = await steps.run('hold monitor', () => log.hold(signal));
  if (held === undefined && !log.ended) return;
  const parts = partRest(await readFile(files.next), unfinished);
  if (parts === undefined) return;
  await steps.run('record what moves', () => recordMove(files, { at: size, ...parts }));
  await steps.run('move rest of line', () => moveRecorded(files));
}

interface Unfinished {
  files: RotationFiles;
  log: MonitorLog;
  unfinished: ReadonlySet<string>;
}

/** Waits for the rest of unfinished lines in the next file, for what was read of a line at once. */
async function restCame(
  { files, log, unfinished }: Unfinished,
  signal: AbortSignal,
): Promise<boolean> {
  const deadline = performance.now() + REST_PATIENCE;
  let seen = 0;
  for (const pause of pauses()) {
    const { ended } = log;
    const { size } = await lstat(files.next);
    if (size > REST_LIMIT) return false;
    if (size > seen && partRest(await readFile(files.next), unfinished) !== undefined) return true;
    seen = size;
    if (ended || signal.aborted || performance.now() > deadline) return false;
    await sleep(pause);
  }
  return false;
}

/** Whether the monitor writes the next file, or may have done so before it ended. */
async function mayBeWritten(
  { path, next }: RotationFiles,
  log: MonitorLog | undefined,
): Promise<boolean> {
  const file = await lstat(next);
  if (log !== undefined && !log.ended) return log.writes(file);
  return file.size > 0 || (await ifExists(lstat(path))) === undefined;
}

/**
 * Gives the next file the log's name. It keeps its own until all is done: a kubelet that gets no
 * answer takes its renaming back, over whatever has the log's name then.
 */
async function putInPlace({ path, next }: RotationFiles): Promise<void> {
  const current = await ifExists(lstat(path));
  if (current !== undefined) {
    if (isSameFile(current, await lstat(next))) return;
    // What was the log is one of the rotated files, as the kubelet meant it.
    await rename(path, `${path}.${timestamp(new Date())}`);
  }
  try {
    await link(next, path);
  } catch {
    await rename(next, path); // The file system has no second names.
  }
}

/** As in the names that kubelets give: 20061231-235959. */
function timestamp(date: Date): string {
  return date
    .toISOString()
    .replace(/\.\d+Z$/, '')
    .replace(/[-:]/g, '')
    .replace('T', '-');
}
