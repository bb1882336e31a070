// A daemon in miniature with built-in plugins, to be killed: attaches a pod and detaches it again.
import { join } from 'node:path';
import { NEVER } from '../../src/base/index.ts';
import { openEngine, podAttachment } from './stress-host.ts';

const [directory = '', network = '', netns = ''] = process.argv.slice(2);
await using engine = await openEngine(
  { path: (name) => join(directory, name) },
  JSON.parse(network),
);
const pod = podAttachment('killed2', netns);
process.stdout.write('attach\n');
await engine.attach(pod, NEVER);
process.stdout.write('detach\n');
await engine.detach(pod, NEVER);
