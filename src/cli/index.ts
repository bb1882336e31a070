export type {
  CniPlace,
  CniSettings,
  CniTool,
  FoundNetwork,
  PluginVersions,
} from './cni-tool.ts';
export type { Surroundings } from './context.ts';
export type * from './csi-tool.ts';
export { EXIT } from './exit-codes.ts';
export { runCli } from './main.ts';
export type { Output } from './output.ts';
export type { LayerProgress, PullProgressSource } from './pull-progress.ts';
