import {
  type RuntimeCondition,
  type RuntimeHandler,
  type StatusRequest,
  StatusResponse,
} from '../gen/runtime/v1/api.ts';
import { runtimeProblem } from '../pods/index.ts';
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
    info: request.verbose ? verboseInfo(context) : {},
  });
};

/** The configuration, which ways of confinement this host has, and who takes part in NRI. */
function verboseInfo({ configuration, pods, nri }: CriContext): Record<string, string> {
  const { apparmor, selinux, hugepages, swapLimit, cgroups } = pods.host;
  const host = {
    ...{ apparmor, selinux: selinux !== undefined, hugepages, swapLimit },
    cgroups: cgroups.mode,
  };
  return {
    config: JSON.stringify(configuration),
    host: JSON.stringify(host),
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
