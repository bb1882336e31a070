import { join } from 'node:path';
import { SILENT } from '../../../src/base/index.ts';
import { HostPathDriver } from '../../../src/csi/hostpath/index.ts';
import { DriverServer } from '../../../src/csi/kit/index.ts';

/** The host-path driver in this process, with its socket and volumes below a directory. */
export async function startHostPath(directory: string, nodeId = 'node-1') {
  const root = join(directory, 'root');
  const endpoint = `unix://${join(directory, 'csi.sock')}`;
  const hostpath = await HostPathDriver.open({ root, nodeId, version: '1', logger: SILENT });
  const server = await DriverServer.open(hostpath.driver, { endpoint, logger: SILENT });
  return {
    endpoint,
    root,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await hostpath[Symbol.asyncDispose]();
    },
  };
}
