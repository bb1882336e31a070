export type { Config, RuntimeConfig, RuntimeType, TlsConfig } from './config.ts';
export type { ConfigFlags } from './layers.ts';
export {
  type ConfigSources,
  DEFAULT_CONFIG_FILE,
  loadConfig,
  readConfig,
} from './load.ts';
export { defaultConfigToml, describe, dumpConfig } from './render.ts';
export { ANY_NAME, type Setting, settings } from './settings.ts';
