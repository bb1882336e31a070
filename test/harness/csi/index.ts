export * from './faults.ts';
export { type DriverClaims, ScriptedDriver } from './scripted-driver.ts';
