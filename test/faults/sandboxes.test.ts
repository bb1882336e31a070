import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { findProgram } from '../../src/linux/index.ts';
import { criSuite, execIn } from '../cri/suite.ts';
import { containerConfig, runContainer, runPod, waitFor } from '../harness/index.ts';
import { ScriptedRuntime } from './scripted-runtime.ts';

const runtime = await ScriptedRuntime.create('runsc');
// Hooks run last first: the daemon still needs it.
afterAll(() => runtime[Symbol.asyncDispose]());

describe.skipIf(findProgram('runsc') === undefined)('gVisor', () => {
  const suite = criSuite({ config: runtime.config });

  test('a sandbox that does not end a command does not keep the daemon from starting', async () => {
    const { daemon, image } = suite;
    const [other, pod] = [await runPod(daemon), await runPod(daemon, {}, 'scripted')];
    const [free, id] = [
      await runContainer(daemon, other, containerConfig(image)),
      await runContainer(daemon, pod, containerConfig(image)),
    ];
    const call = daemon.runtime.execSync({ containerId: id, cmd: ['sleep', '7657'] });
    const ended = call.catch(() => {});
    await waitFor('the command', () => execIn(daemon, id, 'ps | grep "[s]leep 7657"'));
    await daemon.kill9();
    await ended;
    await runtime.hang('ps');
    await daemon.start();
    expect(await execIn(daemon, free, 'echo alive')).toBe('alive');
    expect(daemon.log).toContain('cannot end a command');
    await runtime.mend('ps');
    expect(await execIn(daemon, id, 'echo alive')).toBe('alive');
    // Nobody waits for it any more.
    expect(await readdir(join(daemon.paths.state, 'exec'))).toEqual([]);
  });
});
