import { startHostPath } from '../harness/csi/index.ts';
import { hasSysResource } from '../harness/index.ts';
import { CONTENT_SUITES, csiSanity } from './suite.ts';

const start = startHostPath;

csiSanity('hostpath, directories', { start, access: 'mount' });
csiSanity('hostpath, block devices', { start, access: 'block' });
const filesystem = { start, access: 'mount' } as const;
csiSanity(
  'hostpath, ext4',
  { ...filesystem, fsType: 'ext4', growsMounted: hasSysResource() },
  CONTENT_SUITES,
);
// The smallest that mkfs.xfs makes.
csiSanity('hostpath, xfs', { ...filesystem, fsType: 'xfs', size: 300n << 20n }, CONTENT_SUITES);
