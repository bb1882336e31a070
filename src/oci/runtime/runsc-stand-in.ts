import { constants } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, ifExists, KeelsonError, sleep } from '../../base/index.ts';
import { isAlive, type ProcessId } from '../../linux/index.ts';

/**
 * gVisor keeps all containers of a pod in one process, the sandbox, which is not the child of
 * their monitors; and a container of a sandbox takes its streams from `runsc start`. So each
 * has a stand-in: a child of its conmon that starts the container with conmon's streams when it
 * is told to, waits for its end and ends with its exit code. This is what conmon watches.
 */
const FILES = { start: 'start', started: 'started', log: 'start.log' } as const;

/** Milliseconds between two looks whether the container has been started. */
const PAUSE = 10;

/** No start takes this long, in milliseconds, unless it is stuck. */
const START_DEADLINE = 60_000;

/** The exit code that a stand-in gives for an end that nobody saw. */
const LOST = 255;

/** The program that conmon runs in place of `runsc [ARG...] create …`, and its first arguments. */
export function standInCommand(runsc: readonly string[]): { program: string; args: string[] } {
  return { program: '/bin/sh', args: ['-c', script(runsc), 'runsc'] };
}

function script(runsc: readonly string[]): string {
  return `
runsc() { ${runsc.map(quoted).join(' ')} "$@"; }
while [ $# -gt 1 ]; do
  case $1 in --bundle) bundle=$2 ;; --pid-file) pid_file=$2 ;; esac
  shift
done
id=$1
cd "$bundle" && mkfifo -m 600 ${FILES.start} || exit
runsc create --bundle "$bundle" --pid-file "$bundle/sandbox.pid" "$id" || exit
# A command in the background would have /dev/null as its stdin.
exec 3<&0
(
  read -r _ <${FILES.start}
  runsc --log="$bundle/${FILES.log}" --log-format=json start "$id" <&3
  code=$?
  exec 3<&- </dev/null >/dev/null 2>&1
  echo $code >${FILES.started}.new && mv ${FILES.started}.new ${FILES.started}
  [ $code = 0 ] || exit ${LOST}
  result=$(runsc wait "$id")
  code=\${result##*\\"exitStatus\\":}
  code=\${code%%\\}*}
  case $code in '' | *[!0-9]*) code=${LOST} ;; esac
  exit "$code"
) &
echo $! >"$pid_file"
`;
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
    new KeelsonError('UNKNOWN', `Cannot start container "${id}" by runsc`, { reason });
  const deadline = Date.now() + START_DEADLINE;
  let isTold = false;
  for (;;) {
    if (!isTold) isTold = await tell(join(bundle, FILES.start));
    // Looked at first: what it wrote before it ended counts.
    const lives = isAlive(standIn);
    const code = await ifExists(readFile(join(bundle, FILES.started), 'utf8'));
    if (code !== undefined && Number(code) === 0) return;
    if (code !== undefined) throw failure(await lastError(join(bundle, FILES.log)));
    if (!lives) throw failure('its stand-in is gone');
    if (Date.now() > deadline) throw failure('it does not answer');
    await sleep(PAUSE);
  }
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

async function lastError(log: string): Promise<string> {
  const lines = ((await ifExists(readFile(log, 'utf8'))) ?? '').trim().split('\n');
  const last = lines.filter((line) => /"level"\s*:\s*"(error|fatal|warning)"/.test(line)).at(-1);
  try {
    return String((JSON.parse(last ?? '') as { msg?: string }).msg);
  } catch {
    return 'no reason given';
  }
}
