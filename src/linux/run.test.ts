import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { identifyProcess, isAlive, type ProcessId } from './processes.ts';
import { run } from './run.ts';

const sh = (script: string, options: Parameters<typeof run>[2] = {}) =>
  run('sh', ['-c', script], options);

test('answers what a program wrote and how it ended', async () => {
  const result = await sh('echo out; echo err >&2; exit 3');
  expect(result).toMatchObject({ code: 3, signal: undefined });
  expect([String(result.stdout), String(result.stderr)]).toEqual(['out\n', 'err\n']);
});

test('answers the signal that ended a program', async () => {
  expect(await sh('kill -TERM $$')).toMatchObject({ code: undefined, signal: 'SIGTERM' });
});

test('hands over its input, environment and directory', async () => {
  const options = { input: 'input', env: { ...process.env, NAME: 'value' }, cwd: '/' };
  expect(String((await sh('cat; echo $NAME; pwd', options)).stdout)).toBe('inputvalue\n/\n');
});

test('without input a program reads nothing', async () => {
  expect(String((await sh('cat; echo end')).stdout)).toBe('end\n');
});

test('a program may end without reading all of its input', async () => {
  expect(await sh('exit 0', { input: Buffer.alloc(4 << 20) })).toMatchObject({ code: 0 });
});

test('output beyond the limit is read and dropped', async () => {
  const result = await sh('head -c 300000 /dev/zero; exit 7', { outputLimit: 1000 });
  expect(result.code).toBe(7);
  expect(result.stdout).toHaveLength(1000);
});

test('a program that writes too much may be killed for it', async () => {
  const result = await run('cat', ['/dev/zero'], { outputLimit: 1000, excess: 'kill' });
  expect(result.signal).toBe('SIGKILL');
  expect(result.stdout).toHaveLength(1000);
});

test('a child left in the background does not hold up the answer', async () => {
  const result = await sh('sleep 1000 & echo $!', { drain: 100 });
  const pid = Number(String(result.stdout));
  expect(identifyProcess(pid)).toBeDefined();
  process.kill(pid, 'SIGKILL');
});

test.each([
  ['in PATH', 'keelson-no-such-program'],
  ['at a path', '/nonexistent/program'],
])('a program that is not there %s is FAILED_PRECONDITION', async (_where, program) => {
  await expect(run(program, [])).rejects.toMatchObject({
    code: 'FAILED_PRECONDITION',
    message: `Cannot run "${program}": there is no such program`,
  });
});

test('a program that cannot be executed is an error', async () => {
  await expect(run('/etc/passwd', [])).rejects.toThrow('Cannot run "/etc/passwd"');
});

test('programs are not told what a service manager tells the daemon', async () => {
  process.env['NOTIFY_SOCKET'] = '/run/systemd/notify';
  process.env['LISTEN_FDS'] = '1';
  try {
    expect(String((await run('env', [])).stdout)).not.toMatch(/NOTIFY_SOCKET|LISTEN_FDS/);
    const env = { ...process.env };
    expect(String((await run('env', [], { env })).stdout)).not.toMatch(/NOTIFY_SOCKET/);
  } finally {
    delete process.env['NOTIFY_SOCKET'];
    delete process.env['LISTEN_FDS'];
  }
});

describe('aborting', () => {
  let directory: string | undefined;
  afterEach(async () => {
    if (directory !== undefined) await rm(directory, { recursive: true });
    directory = undefined;
  });

  /** Starts a program with a child of its own; answers both once they run. */
  async function family(options: Parameters<typeof run>[2]) {
    directory = await mkdtemp(join(tmpdir(), 'keelson-run-'));
    const file = join(directory, 'pids');
    const script = `sleep 1000 & echo $$ $! > ${file}.tmp; mv ${file}.tmp ${file}; wait`;
    const running = sh(script, options);
    running.catch(() => {});
    await expect.poll(() => readFile(file, 'utf8').catch(() => '')).toMatch(/\d/);
    const pids = readFileSync(file, 'utf8').trim().split(' ').map(Number);
    return { running, processes: pids.map((pid) => identifyProcess(pid)!) };
  }

  const gone = (processes: ProcessId[]) => processes.every((each) => !isAlive(each));

  test('kills the program and its children, and fails with the reason', async () => {
    const abort = new AbortController();
    const { running, processes } = await family({ signal: abort.signal });
    abort.abort(new Error('client is gone'));
    await expect(running).rejects.toThrow('client is gone');
    await expect.poll(() => gone(processes)).toBe(true);
  });

  test('lets a program end by itself where there is a gentler way', async () => {
    directory = await mkdtemp(join(tmpdir(), 'keelson-run-'));
    const file = join(directory, 'state');
    const script = `trap 'echo ended > ${file}; exit' TERM; echo $$ > ${file}; while :; do sleep 0.01; done`;
    const abort = new AbortController();
    const kill = () => void process.kill(Number(readFileSync(file, 'utf8')), 'SIGTERM');
    const running = sh(script, { signal: abort.signal, kill });
    running.catch(() => {});
    await expect.poll(() => readFile(file, 'utf8').catch(() => '')).toMatch(/\d\n/);
    abort.abort(new Error('stop'));
    await expect(running).rejects.toThrow('stop');
    expect(await readFile(file, 'utf8')).toBe('ended\n');
  });

  test('kills a program that the gentler way does not end', async () => {
    const abort = new AbortController();
    const { running, processes } = await family({ signal: abort.signal, kill: () => {} });
    abort.abort(new Error('stop'));
    await expect(running).rejects.toThrow('stop');
    await expect.poll(() => gone(processes)).toBe(true);
  });

  test('before the start starts nothing', async () => {
    directory = await mkdtemp(join(tmpdir(), 'keelson-run-'));
    const file = join(directory, 'started');
    const signal = AbortSignal.abort(new Error('gone'));
    await expect(run('touch', [file], { signal })).rejects.toThrow('gone');
    await expect(readFile(file)).rejects.toThrow('ENOENT');
  });
});
