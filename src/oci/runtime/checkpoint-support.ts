import { messageOf } from '../../base/index.ts';
import { findProgram, run } from '../../linux/index.ts';
import type { OciRuntime } from './oci-runtime.ts';

/** Milliseconds for criu's look at the kernel. */
const CHECK_DEADLINE = 20_000;

/** Why containers of a runtime can be neither checkpointed nor restored; undefined if they can. */
export async function checkpointProblem(runtime: OciRuntime): Promise<string | undefined> {
  if (runtime.type === 'runsc') return 'checkpoints of gVisor are of a form of their own';
  try {
    if (runtime.type === 'crun' && !(await output(runtime.path, '--version')).includes('+CRIU')) {
      return `${runtime.path} was built without CRIU`;
    }
    const criu = findProgram('criu');
    if (criu === undefined) return 'criu is not installed';
    await output(criu, 'check');
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

async function output(program: string, ...args: string[]): Promise<string> {
  const result = await run(program, args, { signal: AbortSignal.timeout(CHECK_DEADLINE) });
  if (result.code === 0) return result.stdout.toString();
  const said = result.stderr.toString().trim().split('\n').at(0) ?? '';
  throw new Error(`"${program} ${args.join(' ')}" fails: ${said}`);
}
