import { createLogger, KeelsonError, type Logger, messageOf } from '../../base/index.ts';
import type { CsiDriver } from './driver.ts';
import { DriverServer } from './driver-server.ts';

export interface ServeOptions {
  /** Default: the variable CSI_ENDPOINT, as the specification has it. */
  readonly endpoint?: string;
  readonly logger?: Logger;
}

/**
 * Makes this process a CSI driver: listens on the endpoint until SIGTERM or SIGINT, then
 * lets the calls under way end, takes the socket away and ends the process.
 *
 *     await serveDriver({ name: 'mine.example.com', version: '1.0', nodeGetInfo, … });
 *
 * Logs JSON lines to stderr.
 */
export async function serveDriver(driver: CsiDriver, options: ServeOptions = {}): Promise<never> {
  const logger = options.logger ?? createLogger('info');
  try {
    const endpoint = options.endpoint ?? process.env['CSI_ENDPOINT'] ?? '';
    if (endpoint === '') {
      throw new KeelsonError('INVALID_ARGUMENT', 'Cannot serve without an endpoint', {
        hint: 'set CSI_ENDPOINT=unix:///PATH.sock',
      });
    }
    await using _server = await DriverServer.open(driver, { endpoint, logger });
    logger.info({ driver: driver.name, endpoint }, `driver "${driver.name}" listens`);
    await terminated();
  } catch (error) {
    logger.error({ error }, messageOf(error));
    process.exit(1);
  }
  process.exit(0);
}

function terminated(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
}
