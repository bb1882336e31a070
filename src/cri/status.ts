import {
  type RuntimeCondition,
  type RuntimeHandler,
  type StatusRequest,
  StatusResponse,
} from '../gen/runtime/v1/api.ts';
import { runtimeProblem } from '../pods/index.ts';
import { NO_POD_CHECKPOINTS } from './checkpoint-pod.ts';
import type { CriContext, UnaryHandler } from './context.ts';

/** RuntimeReady and NetworkReady, and what each runtime handler can do. */
export const status: UnaryHandler<StatusRequest, StatusResponse> = async (
  context,
  request,
  call,
) => {
  const network = await context.pods.network.status(call.signal);
  const problem = runtimeProblem(context.pods);
  const conditions: RuntimeCondition[] = [
    {
      type: 'RuntimeReady',
      status: problem === undefined,
      reason: problem === undefined ? '' : 'ProgramMissing',
      message: problem ?? '',
    },
    {
      type: 'NetworkReady',
      status: network.ready,
      reason: network.ready ? '' : network.reason,
      message: network.ready ? '' : network.message,
    },
  ];
  return StatusResponse.fromPartial({
    status: { conditions },
    runtimeHandlers: await handlers(context),
    features: {
      supplementalGroupsPolicy: true,
      userNamespacesHostNetwork: false,
      mountOptions: true,
    },
    info: request.verbose ? await verboseInfo(context) : {},
  });
};

/** The configuration, what this host has and can do, and who takes part in NRI. */
async function verboseInfo(context: CriContext): Promise<Record<string, string>> {
  const { configuration, pods, nri } = context;
  const { apparmor, selinux, hugepages, swapLimit, cgroups } = pods.host;
  const host = {
    ...{ apparmor, selinux: selinux !== undefined, hugepages, swapLimit },
    cgroups: cgroups.mode,
  };
  return {
    config: JSON.stringify(configuration),
    host: JSON.stringify(host),
    checkpoint: JSON.stringify(await checkpointSupport(context)),
    ...(nri === undefined ? {} : { nri: JSON.stringify(nri()) }),
  };
}

/** Each handler under its name, and the default one also under ''. */
async function handlers(context: CriContext): Promise<RuntimeHandler[]> {
  const { runtimes, userNamespaces } = context.pods;
  const names = ['', ...runtimes.list().map((runtime) => runtime.handler)];
  return Promise.all(
    names.map(async (name) => {
      const { mountOptions } = await runtimes.features(name);
      return {
        name,
        features: {
          recursiveReadOnlyMounts: mountOptions?.includes('rro') ?? false,
          userNamespaces: (await userNamespaces.problem(runtimes.get(name))) === undefined,
        },
      };
    }),
  );
}

/** Of each handler, and of pods as a whole, why it cannot be checkpointed; '' where it can. */
async function checkpointSupport({ pods }: CriContext): Promise<Record<string, unknown>> {
  const handlers = await Promise.all(
    pods.runtimes.list().map(async ({ handler }) => {
      const problem = await pods.runtimes.checkpointProblem(handler);
      return [handler, problem ?? ''] as const;
    }),
  );
  return { handlers: Object.fromEntries(handlers), pods: NO_POD_CHECKPOINTS };
}
