/**
 * `keelson/csi/driver`: what a CSI driver in TypeScript is written with. A driver is an
 * object with the methods that it has; `serveDriver` makes it a program.
 */

export {
  createLogger,
  type ErrorCode,
  KeelsonError,
  type Logger,
  SILENT,
} from '../../base/index.ts';
export * from '../../gen/csi/v1/csi.ts';
export { bindMount, listMounts, type MountInfo, MS, mount, unmount } from '../../linux/index.ts';
export * from './driver.ts';
export { DriverServer, type DriverServerOptions } from './driver-server.ts';
export { type PageRequest, pageOf } from './paging.ts';
export { checkPublishing, checkStaging, type Place, placeOf } from './places.ts';
export { type ServeOptions, serveDriver } from './serve-driver.ts';
export { mountAt, removeTarget } from './target.ts';
export { EPHEMERAL } from './validate.ts';
