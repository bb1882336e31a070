import { findProgram } from '../linux/index.ts';
import type { Pods } from './pods.ts';

/** Why no container can be run now; undefined if one can. */
export function runtimeProblem(pods: Pods): string | undefined {
  const programs = [pods.conmon.path, pods.runtimes.get('').path];
  const missing = programs.filter((program) => findProgram(program) === undefined);
  return missing.length === 0 ? undefined : `${missing.join(' and ')} is not installed`;
}
