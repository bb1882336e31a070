import type { LinuxSandboxSecurityContext } from '../gen/runtime/v1/api.ts';
import type { SandboxSecurity } from '../pods/index.ts';
import { toGroupsPolicy } from './container-security.ts';
import { invalid } from './invalid.ts';
import { toId, toOptionalId, toProfile, toSelinux } from './security-profile.ts';

const FIELD = 'config.linux.security_context';

/**
 * Checks what the pod's own process shall run with. `readonly_rootfs` needs no looking
 * after: its root filesystem, which holds one program, is read-only always. Nor has it an
 * /etc/group, so that both policies of supplemental groups mean the same.
 */
export function toSandboxSecurity(
  context: LinuxSandboxSecurityContext | undefined,
): SandboxSecurity {
  if (context?.runAsGroup !== undefined && context.runAsUser === undefined) {
    throw invalid(`${FIELD}.run_as_group`, 'it is given without run_as_user');
  }
  toGroupsPolicy(FIELD, context?.supplementalGroupsPolicy ?? 0);
  return {
    runAsUser: toOptionalId(`${FIELD}.run_as_user`, context?.runAsUser),
    runAsGroup: toOptionalId(`${FIELD}.run_as_group`, context?.runAsGroup),
    supplementalGroups: (context?.supplementalGroups ?? []).map((gid) =>
      toId(`${FIELD}.supplemental_groups`, gid),
    ),
    seccomp: toProfile(`${FIELD}.seccomp`, context?.seccomp, context?.seccompProfilePath) ?? {
      type: 'runtime-default',
    },
    apparmor: toProfile(`${FIELD}.apparmor`, context?.apparmor),
    selinux: toSelinux(`${FIELD}.selinux_options`, context?.selinuxOptions),
  };
}
