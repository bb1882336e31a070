import { constants } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, expectValue, ifExists, KeelsonError, sleep } from '../../base/index.ts';
import { identifyProcess, isAlive, type ProcessId } from '../../linux/index.ts';
import { cleanMessage } from './oci-runtime.ts';

/**
 * A child of conmon in place of a container that comes to life only when it is started, or
 * that is no child of conmon's: a shell that starts the container with conmon's streams when
 * it is told to, waits for its end and ends with its exit code.
 *
 * gVisor keeps all containers of a pod in one process, the sandbox, and a container in it takes
 * its streams from `runsc start`. A container that is restored from a checkpoint runs at once.
 */
const FILES = { start: 'start', started: 'started', log: 'start.log', pid: 'container.pid' };

/** Milliseconds between two looks whether the container has been started. */
const PAUSE = 10;

/** No start takes this long, in milliseconds, unless it is stuck. */
const START_DEADLINE = 120_000;

/** The exit code that a stand-in gives for an end that nobody saw. */
const LOST = 255;

/** Where the images of a checkpoint are, and where what restores them may write. */
export interface RestoreSource {
  images: string;
  work: string;
}

interface ShellCommand {
  program: string;
  args: string[];
}

/** What conmon runs in place of `runsc [ARG...] create …` for a container of a sandbox. */
export function sandboxedCommand(runtime: readonly string[]): ShellCommand {
  return shellCommand(runtime, {
    create: 'runtime create --bundle "$bundle" --pid-file "$bundle/sandbox.pid" "$id"',
    // The answer of wait is {"id":"…","exitStatus":N}.
    start: `
  runtime --log="$bundle/${FILES.log}" --log-format=json start "$id" <&3
  code=$?
  exec 3<&- </dev/null >/dev/null 2>&1
  answer $code
  [ $code = 0 ] || exit ${LOST}
  result=$(runtime wait "$id")
  code=\${result##*\\"exitStatus\\":}
  code=\${code%%\\}*}`,
  });
}

/** The same in place of `create` for a container that is restored when it is started. */
export function restoreCommand(
  runtime: readonly string[],
  { images, work }: RestoreSource,
): ShellCommand {
  return shellCommand(runtime, {
    create: ':',
    start: `
  (
    runtime --log="$bundle/${FILES.log}" --log-format=json restore --bundle "$bundle" \\
      --image-path ${quoted(images)} --work-path ${quoted(work)} --file-locks \\
      --pid-file "$bundle/${FILES.pid}" "$id" <&3 3<&-
    echo $? >ended
  ) &
  exec 3<&- </dev/null >/dev/null 2>&1
  while [ ! -s ${FILES.pid} ] && [ ! -s ended ]; do sleep 0.02; done
  [ -s ${FILES.pid} ] && answer 0 || answer 1
  wait $!
  read -r code <ended`,
  });
}

function shellCommand(
  runtime: readonly string[],
  { create, start }: { create: string; start: string },
): ShellCommand {
  const script = `
runtime() { ${runtime.map(quoted).join(' ')} "$@"; }
answer() { echo "$1" >${FILES.started}.new && mv ${FILES.started}.new ${FILES.started}; }
while [ $# -gt 1 ]; do
  case $1 in --bundle) bundle=$2 ;; --pid-file) pid_file=$2 ;; esac
  shift
done
id=$1
cd "$bundle" && mkfifo -m 600 ${FILES.start} || exit
${create} || exit
# A command in the background would have /dev/null as its stdin.
exec 3<&0
(
  read -r _ <${FILES.start}
  ${start}
  case $code in '' | *[!0-9]*) code=${LOST} ;; esac
  exit "$code"
) &
echo $! >"$pid_file"
`;
  return { program: '/bin/sh', args: ['-c', script, 'stand-in'] };
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Has the stand-in of a bundle start its container. Ends when it has; fails with its reason. */
export async function startByStandIn(
  bundle: string,
  { id, standIn }: { id: string; standIn: ProcessId },
): Promise<void> {
  const failure = (reason: string) =>
    new KeelsonError('UNKNOWN', `Cannot start container "${id}"`, { reason });
  const deadline = Date.now() + START_DEADLINE;
  let isTold = false;
  for (;;) {
    if (!isTold) isTold = await tell(join(bundle, FILES.start));
    // Looked at first: what it wrote before it ended counts.
    const lives = isAlive(standIn);
    const code = await ifExists(readFile(join(bundle, FILES.started), 'utf8'));
    if (code !== undefined && Number(code) === 0) return;
    if (code !== undefined) throw failure(await errorsIn(join(bundle, FILES.log)));
    if (!lives) throw failure('its stand-in is gone');
    if (Date.now() > deadline) throw failure('it does not answer');
    await sleep(PAUSE);
  }
}

/** The first process of a container that was restored. */
export async function restoredProcess(bundle: string): Promise<ProcessId> {
  const pid = Number(await readFile(join(bundle, FILES.pid), 'utf8'));
  return expectValue(identifyProcess(pid), `process ${pid} of the restored container`);
}

/** Answers false when nobody listens, which it may not do yet. */
async function tell(path: string): Promise<boolean> {
  try {
    await using fifo = await open(path, constants.O_WRONLY | constants.O_NONBLOCK);
    await fifo.write('start\n');
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENXIO') return false;
    throw error;
  }
}

/** What a runtime logged as wrong, the cause first. gVisor ends no line. */
async function errorsIn(log: string): Promise<string> {
  const text = (await ifExists(readFile(log, 'utf8'))) ?? '';
  const entries = text.replaceAll('}{', '}\n{').trim().split('\n');
  const wrong = entries.filter((each) => /"level"\s*:\s*"(error|fatal|warning)"/.test(each));
  return wrong.length === 0 ? 'no reason given' : wrong.map(cleanMessage).join('; ');
}
