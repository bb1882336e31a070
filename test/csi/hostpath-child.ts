import { createLogger } from '../../src/base/index.ts';
import { serveHostPath } from '../../src/csi/hostpath/index.ts';

/** The host-path driver as a process of its own, to be killed. */
const [endpoint = '', root = ''] = process.argv.slice(2);
const end = new AbortController();
process.once('SIGTERM', () => end.abort());
const logger = createLogger('info');
await serveHostPath({ endpoint, root, nodeId: 'n1', version: '1', logger, signal: end.signal });
