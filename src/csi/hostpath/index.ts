export {
  HOSTPATH_DRIVER,
  HostPathDriver,
  type HostPathOptions,
  serveHostPath,
} from './hostpath-driver.ts';
