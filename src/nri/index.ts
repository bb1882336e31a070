export { Nri, type NriOptions, type NriSettings, type PluginStatus } from './service.ts';
