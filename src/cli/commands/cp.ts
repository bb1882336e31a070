import { lstat, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { PassThrough, type Readable, Writable } from 'node:stream';
import type { Command } from 'commander';
import { ifExists, KeelsonError } from '../../base/index.ts';
import { RuntimeServiceService } from '../../gen/runtime/v1/api.ts';
import type { Context } from '../context.ts';
import { type Inside, parsePlace, splitPath } from '../copying/places.ts';
import type { CriClient } from '../cri-client.ts';
import { usageError } from '../failures.ts';
import { printable } from '../human.ts';

/** Bytes of the complaints of tar that are shown. */
const COMPLAINT_LIMIT = 2000;

/** `keelson cp`: copies files and directories, by a tar that runs in the container. */
export function configure(command: Command, context: Context): void {
  command
    .argument('<source>', 'PATH or CONTAINER:/PATH')
    .argument('<destination>', 'PATH or CONTAINER:/PATH; in a directory that is there, or new')
    .action(async (source: string, destination: string) => {
      const [from, to] = [parsePlace(source), parsePlace(destination)];
      if ((from === undefined) === (to === undefined)) {
        throw usageError('one of source and destination is CONTAINER:/PATH, the other a path here');
      }
      const action = `Cannot copy "${source}" to "${destination}"`;
      if (from !== undefined) await copyOut(context, from, destination, action);
      else if (to !== undefined) await copyIn(context, source, to, action);
    });
}

async function copyIn(context: Context, source: string, to: Inside, action: string): Promise<void> {
  await lstat(source);
  const { packTree } = await import('../copying/pack.ts');
  const cri = await context.cri();
  const into = await isDirectoryInside(cri, to);
  const target = into ? join(to.path, basename(resolve(source))) : to.path;
  const { directory, name } = splitPath(target);
  if (name === '') throw usageError('the destination has no name');
  const archive = packTree(source, name, (path) => skipped(context, path));
  const cmd = ['tar', '-x', '-o', '-f', '-', '-C', directory];
  let failure: unknown;
  archive.once('error', (error) => {
    failure = error;
  });
  const sink = new PassThrough().resume();
  await runTar(context, { containerId: to.containerId, cmd, action }, { stdin: archive, sink });
  if (failure !== undefined) throw failure;
}

async function copyOut(
  context: Context,
  from: Inside,
  destination: string,
  action: string,
): Promise<void> {
  const { unpackTree } = await import('../copying/unpack.ts');
  const { moveInto } = await import('../copying/move.ts');
  const { directory, name } = splitPath(from.path);
  const isInto = (await ifExists(stat(destination)))?.isDirectory() ?? false;
  const parent = isInto ? resolve(destination) : resolve(destination, '..');
  // Beside its place, so that moving it there is a rename.
  const work = await mkdtemp(join(parent, '.keelson-cp-'));
  try {
    const archive = new PassThrough();
    const unpacked = unpackTree(archive, work, (path) => skipped(context, path));
    const cmd = ['tar', '-c', '-f', '-', '-C', directory, `./${name}`];
    const request = { containerId: from.containerId, cmd, action };
    const failed = new AbortController();
    unpacked.catch(() => failed.abort());
    const signal = AbortSignal.any([context.signal, failed.signal]);
    const fetched = runTar(context, request, { sink: archive, signal }).then(
      () => void archive.end(),
      (error: Error) => void archive.destroy(error),
    );
    await Promise.all([unpacked, fetched]);
    const whole = name === '' ? work : join(work, name);
    const target = isInto ? join(parent, name) : resolve(destination);
    if (name !== '') return await moveInto(whole, target);
    for (const each of await readdir(work)) await moveInto(join(work, each), join(target, each));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

interface TarRequest {
  containerId: string;
  cmd: string[];
  action: string;
}

/** Runs tar in the container; fails with what it says if it does not end well. */
async function runTar(
  context: Context,
  { action, ...request }: TarRequest,
  {
    stdin,
    sink,
    signal = context.signal,
  }: { stdin?: Readable; sink: Writable; signal?: AbortSignal },
): Promise<void> {
  const { remoteCommand } = await import('../streaming/remote-command.ts');
  const cri = await context.cri();
  const streams = { tty: false, stdin: stdin !== undefined, stdout: true, stderr: true };
  const { url } = await cri.call(
    RuntimeServiceService.exec,
    { ...request, ...streams },
    { action },
  );
  let complaint = '';
  const stderr = new Writable({
    write(chunk: Buffer, _encoding, done) {
      if (complaint.length < COMPLAINT_LIMIT) complaint += chunk.toString('utf8');
      done();
    },
  });
  const io = { stdin, stdout: sink, stderr };
  const code = await remoteCommand(cri, { url, action }, io, signal);
  if (code === 0) return;
  throw new KeelsonError('UNKNOWN', action, {
    reason: complaint.trim() || `tar ended with ${code}`,
    ...(code === 127 ? { hint: 'the container needs a tar' } : {}),
  });
}

/** Without the program `test` in the container, a slash at the end decides. */
async function isDirectoryInside(cri: CriClient, { containerId, path }: Inside): Promise<boolean> {
  const { exitCode } = await cri.call(
    RuntimeServiceService.execSync,
    { containerId, cmd: ['test', '-d', path], timeout: 10n },
    { action: `Cannot look at "${path}" in container "${containerId}"` },
  );
  return exitCode === 0 || (exitCode !== 1 && path.endsWith('/'));
}

function skipped(context: Context, path: string): void {
  const reason = 'it is neither file, directory nor link';
  context.stderr.write(`keelson: left out "${printable(path)}": ${reason}\n`);
}
