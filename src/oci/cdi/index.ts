export { annotatedDevices, parseDeviceName } from './names.ts';
export { resolveDevices } from './resolve.ts';
export type { CdiDeviceNode, CdiEdits, CdiHook, CdiIntelRdt, CdiMount } from './schema.ts';
