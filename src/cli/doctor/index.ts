import type { Config } from '../../config/index.ts';
import type { Finding } from './finding.ts';
import { kernelFindings } from './kernel.ts';
import { networkFindings } from './network.ts';
import { installerOf } from './packages.ts';
import { privilegeFindings } from './privileges.ts';
import { programFindings } from './programs.ts';
import { storageFindings } from './storage.ts';

export type { Finding } from './finding.ts';

export interface Examination {
  readonly config: Config;
  /** The PATH in which programs are looked up. */
  readonly path: string;
  /** CNI plugins that need no program. */
  readonly builtinPlugins: readonly string[];
  readonly signal: AbortSignal;
}

/** Looks at all that `keelson serve` with this configuration would need. Changes nothing. */
export async function examineHost(examination: Examination): Promise<Finding[]> {
  const { config, path, builtinPlugins, signal } = examination;
  const install = await installerOf();
  const groups = await Promise.all([
    privilegeFindings(),
    kernelFindings(),
    programFindings({ config, path, install, signal }),
    networkFindings({ config, builtinPlugins, install }),
    storageFindings(config),
  ]);
  return groups.flat();
}
