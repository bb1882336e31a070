export { installLaunchers, uninstallLaunchers } from './install.ts';
export { loadPlugin, PROGRAM_TYPES } from './plugin-modules.ts';
