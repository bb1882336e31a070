import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NEVER } from '../../base/index.ts';
import { findProgram, identifyProcess } from '../../linux/index.ts';
import { cleanMessage, OciRuntime, type OciRuntimeOptions } from './oci-runtime.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-runtime-'));
});
afterEach(() => rm(directory, { recursive: true }));

describe('what a runtime says of its failure', () => {
  test.each([
    ['JSON', '{"level":"error","msg":"no \\"x\\"","time":"t"}', 'no "x"'],
    ['logfmt', 'time="t" level=error msg="exec: \\"x\\": not found"', 'exec: "x": not found'],
    [
      'plain text',
      'error opening file `/x`: No such file',
      'error opening file `/x`: No such file',
    ],
    ['JSON without a message', '{"level":"error"}', '{"level":"error"}'],
    ['other JSON', 'null', 'null'],
    ['nothing', '', ''],
  ])('is found in %s', (_form, line, message) => expect(cleanMessage(line)).toBe(message));
});

describe.each(['crun', 'runc'] as const)('%s', (type) => {
  const open = () =>
    new OciRuntime({
      handler: type,
      type,
      path: findProgram(type) ?? type,
      root: join(directory, 'root'),
      systemdCgroup: false,
    });

  test('tells its version', async () => expect(await open().version(NEVER)).toContain(type));

  test('has no state of a container that it does not know', async () => {
    expect(await open().state('unknown', NEVER)).toBeUndefined();
  });

  test('says that there is nothing to kill', async () => {
    expect(await open().kill('unknown', 'SIGTERM', NEVER)).toBe(false);
  });

  test('deletes what is not there', () => open().delete('unknown', NEVER));

  test('cannot start a container that it does not know', async () => {
    const path = findProgram(type);
    await expect(open().start('unknown', NEVER)).rejects.toThrow(
      `Cannot start container "unknown" by ${path}: `,
    );
  });
});

describe('a runtime program', () => {
  /** A runtime that is a shell script. */
  async function scripted(script: string, options: Partial<OciRuntimeOptions> = {}) {
    const path = join(directory, 'runtime');
    await writeFile(path, `#!/bin/sh\n${script}\n`);
    await chmod(path, 0o755);
    const root = join(directory, 'root');
    return new OciRuntime({
      ...{ handler: 'test', type: 'runc', path, root, systemdCgroup: false },
      ...options,
    });
  }

  test('gets the options for all commands before the command', async () => {
    const runtime = await scripted(`echo "$@" > ${directory}/args`, {
      options: ['--debug'],
      systemdCgroup: true,
    });
    await runtime.start('c', NEVER);
    expect(await readFile(join(directory, 'args'), 'utf8')).toBe(
      `--systemd-cgroup --root=${directory}/root --debug start c\n`,
    );
  });

  test('gets new limits as its input', async () => {
    const runtime = await scripted(`cat > ${directory}/input`);
    await runtime.update('c', { memory: { limit: 1 } }, NEVER);
    const input = await readFile(join(directory, 'input'), 'utf8');
    expect(JSON.parse(input)).toEqual({ memory: { limit: 1 } });
  });

  test.each([
    ['with a reason', 'echo first >&2; echo last >&2; exit 1', 'last'],
    ['without a word', 'exit 3', 'exit code 3'],
    ['by a signal', 'kill -KILL $$', 'killed by SIGKILL'],
  ])('that fails %s is quoted', async (_how, script, reason) => {
    const runtime = await scripted(script);
    const message = (command: string) =>
      `Cannot ${command} container "c" by ${directory}/runtime: ${reason}`;
    await expect(runtime.start('c', NEVER)).rejects.toThrow(message('start'));
    await expect(runtime.kill('c', 'SIGTERM', NEVER)).rejects.toThrow(message('kill'));
    await expect(runtime.delete('c', NEVER)).rejects.toThrow(message('delete'));
    await expect(runtime.state('c', NEVER)).rejects.toThrow(message('state'));
  });

  test('that hangs is killed when nobody waits any more', async () => {
    const pidFile = join(directory, 'pid');
    const runtime = await scripted(`echo $$ > ${pidFile}; exec sleep 1000`);
    const abort = new AbortController();
    const starting = runtime.start('c', abort.signal);
    starting.catch(() => {});
    await expect.poll(() => readFile(pidFile, 'utf8').catch(() => '')).toMatch(/\n/);
    const pid = Number(await readFile(pidFile, 'utf8'));
    abort.abort(new Error('client is gone'));
    await expect(starting).rejects.toThrow('client is gone');
    expect(identifyProcess(pid)).toBeUndefined();
  });

  test.each([
    ['fails', 'exit 1'],
    ['answers something else', 'echo usage: runtime'],
  ])('that %s when asked for its features has none to tell', async (_how, script) => {
    expect(await (await scripted(script)).features(NEVER)).toBeUndefined();
  });

  test('tells its features', async () => {
    const runtime = await scripted(`echo '{"mountOptions":["rro"]}'`);
    expect(await runtime.features(NEVER)).toEqual({ mountOptions: ['rro'] });
  });
});
