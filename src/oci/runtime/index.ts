export * from './conmon.ts';
export * from './oci-runtime.ts';
export { startByStandIn } from './runsc-stand-in.ts';
