import type { ErrorCode } from '../../base/index.ts';
import type { ArchiveIndex, IndexJob } from './archive-index.ts';
import type { Gunzip } from './decompress.ts';
import type { HashJob } from './hash-file.ts';
import type { WrittenLayer } from './layer-files.ts';
import type { Settled, SettleJob } from './settle-layer.ts';
import type { UnpackJob } from './unpack-layer.ts';

/** What a worker is started with. */
export interface WorkerSettings {
  /** The URL of the module to run. */
  program: string;
  /** Where Node keeps what it compiled. */
  compileCache: string | undefined;
  gunzip: Gunzip;
}

/** To write small files of a layer that another worker unpacks, see SmallFiles. */
export interface HelpJob {
  slots: SharedArrayBuffer;
  /** The layer's directory. */
  directory: string;
}

/** What workers do: the kinds of work, what each is given, and what it answers. */
export interface WorkerTasks {
  unpack: { job: UnpackJob; result: WrittenLayer };
  help: { job: HelpJob; result: undefined };
  settle: { job: SettleJob; result: Settled };
  index: { job: IndexJob; result: ArchiveIndex };
  hash: { job: HashJob; result: string };
  remove: { job: { path: string }; result: undefined };
}

export type WorkerTaskKind = keyof WorkerTasks;

export type WorkerTask = {
  [Kind in WorkerTaskKind]: { kind: Kind; job: WorkerTasks[Kind]['job'] };
}[WorkerTaskKind];

/** What a worker is sent: a task, or that it shall end after those that it has. */
export type WorkerMessage = WorkerTask | 'end';

export type WorkerAnswer =
  | { ok: true; result: WorkerTasks[WorkerTaskKind]['result'] }
  | { ok: false; code: ErrorCode; message: string };
