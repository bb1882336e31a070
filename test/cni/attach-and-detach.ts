// A daemon in miniature, to be killed: attaches a pod and detaches it again.
import { NEVER, SILENT } from '../../src/base/index.ts';
import { CniEngine, ExecInvoker } from '../../src/cni/index.ts';

const [directory = '', bin = '', netns = ''] = process.argv.slice(2);

await using engine = await CniEngine.open({
  confDir: `${directory}/conf`,
  binDirs: [bin],
  cacheDir: `${directory}/cache`,
  stateDir: `${directory}/state`,
  logger: SILENT,
  invoker: new ExecInvoker(),
});
const pod = {
  ...{ containerId: 'killed1', netns, podName: 'p', podNamespace: 'n', podUid: 'u' },
  portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' as const }],
};
await engine.attach(pod, NEVER);
await engine.detach(pod, NEVER);
