export * from './conmon.ts';
export * from './oci-runtime.ts';
