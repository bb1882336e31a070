/**
 * `keelson/cni/plugin`: what a CNI plugin in TypeScript is written with. A plugin is an
 * object with the methods `add`, `del` and `check`; `servePlugin` makes it a program.
 */

export type { PluginMethods } from '../engine/call-plugin.ts';
export { ExecInvoker } from '../engine/exec-invoker.ts';
export { readArgs } from '../plugins/cni-args.ts';
export { Ipam } from '../plugins/ipam.ts';
export {
  checkFailed,
  definePlugin,
  invalidConfig,
  type PluginBody,
  readConfig,
  requirePrevResult,
  staticArgs,
} from '../plugins/plugin-definition.ts';
export * from '../spec/index.ts';
export { type AnswerOptions, answerProgram, type ProgramAnswer } from './answer-program.ts';
export type { PluginProgram } from './plugin-program.ts';
export type { ProgramInput } from './program-input.ts';
export { servePlugin } from './serve-plugin.ts';
