import { createLogger, KeelsonError, LOG_LEVELS } from './base/index.ts';
import type { CsiTool, ProbedDriver } from './cli/index.ts';
import { serveHostPath } from './csi/hostpath/index.ts';
import { CsiClient, type DriverDescription, describeDriver } from './csi/protocol/index.ts';

/** CSI for one command: the driver of this host, and a look at any driver. */
export function csiTool(version: string): CsiTool {
  return {
    async hostPath({ logLevel, registrationDir, ...settings }, signal) {
      const level = LOG_LEVELS.find((each) => each === logLevel);
      if (level === undefined) {
        throw new KeelsonError('INVALID_ARGUMENT', `Unknown log level "${logLevel}"`, {
          hint: `one of ${LOG_LEVELS.join(', ')}`,
        });
      }
      const registrationDirectory = registrationDir;
      const logger = createLogger(level);
      await serveHostPath({ ...settings, registrationDirectory, version, logger, signal });
    },
    async probe(socket, { timeout, signal }) {
      using driver = new CsiClient(socket, { timeout });
      return report(await describeDriver(driver, { signal }));
    },
  };
}

function report({ node, ...rest }: DriverDescription): ProbedDriver {
  if (node === undefined) return rest;
  return { ...rest, node: { ...node, maxVolumes: String(node.maxVolumes) } };
}
