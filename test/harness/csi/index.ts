export * from './faults.ts';
export * from './hostpath.ts';
export { type DriverClaims, ScriptedDriver } from './scripted-driver.ts';
