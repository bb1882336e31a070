import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

/** Runs a module text in a Node of its own, with this folder's index as `base`. */
function runModule(source: string, env: Record<string, string> = {}) {
  const index = JSON.stringify(new URL('./index.ts', import.meta.url).href);
  return spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', `import * as base from ${index};\n${source}`],
    { env: { ...process.env, ...env }, encoding: 'utf8' },
  );
}

test('a program is killed right after the step that its fault point names', () => {
  const source = `
    const steps = new base.Steps('run', base.SILENT);
    for (const name of ['one', 'two', 'three']) await steps.run(name, () => console.log(name));`;
  const ended = runModule(source, { KEELSON_FAULT_POINT: 'run/two' });
  expect(ended).toMatchObject({ signal: 'SIGKILL', stdout: 'one\ntwo\n' });
});

test('log lines are JSON on stderr, with the fields of parents', () => {
  const ended = runModule(`
    const logger = base.createLogger('info').child({ podId: 'p' });
    logger.info({ containerId: 'c' }, 'container exited');
    logger.debug({}, 'not said');`);
  expect(ended.stdout).toBe('');
  expect(JSON.parse(ended.stderr)).toMatchObject({
    level: 'info',
    podId: 'p',
    containerId: 'c',
    msg: 'container exited',
  });
});

test('a change of the level reaches loggers made before', () => {
  const ended = runModule(`
    const root = base.createLogger('warn');
    const child = root.child({});
    child.info({}, 'first');
    root.level = 'debug';
    child.debug({}, 'second');
    root.level = 'silent';
    child.error({}, 'third');`);
  expect(JSON.parse(ended.stderr)).toMatchObject({ level: 'debug', msg: 'second' });
});

test('an error of ours is logged as its code and message, another with its stack', () => {
  const ended = runModule(`
    const logger = base.createLogger('info');
    logger.error({ error: new base.KeelsonError('NOT_FOUND', 'There is no x') }, 'a');
    logger.error({ error: new TypeError('bug') }, 'b');`);
  const [ours, other] = ended.stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(ours.error).toEqual({ code: 'NOT_FOUND', message: 'There is no x' });
  expect(other.error).toMatchObject({ message: 'bug', stack: expect.stringContaining('bug') });
});
