import { NEVER, SILENT } from '../../src/base/index.ts';
import { ImageStore } from '../../src/oci/images/index.ts';

/**
 * A daemon's image store that does what it is told and ends; the environment may name a
 * fault point at which it is killed: ROOT pull|remove|replace REFERENCE
 */
const [root = '', action = '', reference = ''] = process.argv.slice(2);
await using store = await ImageStore.open({ root, logger: SILENT, registry: {} });
await store.collectGarbage();
if (action === 'pull') await store.pull(reference, { signal: NEVER });
if (action === 'remove') {
  await store.remove(reference);
  await store.collectGarbage();
}
