import type { Config } from '../../config/index.ts';
import type { Finding } from './finding.ts';
import { kernelFindings } from './kernel.ts';
import { networkFindings } from './network.ts';
import { installerOf } from './packages.ts';
import { privilegeFindings } from './privileges.ts';
import { programFindings } from './programs.ts';
import { storageFindings } from './storage.ts';

export type { Finding } from './finding.ts';

/** Looks at all that `keelson serve` with this configuration would need. Changes nothing. */
export async function examineHost(
  config: Config,
  path: string,
  signal: AbortSignal,
): Promise<Finding[]> {
  const install = await installerOf();
  const groups = await Promise.all([
    privilegeFindings(),
    kernelFindings(),
    programFindings({ config, path, install, signal }),
    networkFindings(config, install),
    storageFindings(config),
  ]);
  return groups.flat();
}
