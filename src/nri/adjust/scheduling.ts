import { KeelsonError } from '../../base/index.ts';
import {
  IOPrioClass,
  iOPrioClassToJSON,
  type LinuxIOPriority,
  type LinuxScheduler,
  LinuxSchedulerPolicy,
  linuxSchedulerFlagToJSON,
  linuxSchedulerPolicyToJSON,
} from '../../gen/nri/v1alpha1/api.ts';
import type { Process } from '../../oci/spec/index.ts';
import { toNumber } from './limits.ts';

/** What the OCI runtime of a container can do. */
export interface RuntimeAbility {
  /** The newest version of the specification that it knows; undefined if it does not say. */
  ociVersion: string | undefined;
  /** Whether it gives each pod a kernel of its own (gVisor), which lacks much of the host's. */
  hasOwnKernel: boolean;
}

/**
 * Fails with INVALID_ARGUMENT unless the runtime knows that version of the specification:
 * an older one would leave the field out without a word.
 */
export function need(what: string, version: string, { ociVersion }: RuntimeAbility): void {
  if (ociVersion !== undefined && isAtLeast(ociVersion, version)) return;
  throw new KeelsonError('INVALID_ARGUMENT', `Cannot set the ${what} of a container`, {
    reason: `its OCI runtime knows ${ociVersion ?? 'no newer specification than 1.0'}`,
    hint: `runtimes know it that implement version ${version} of the specification`,
  });
}

function isAtLeast(version: string, wanted: string): boolean {
  const numbers = (text: string) => text.split(/[.-]/, 3).map(Number);
  const [has, needs] = [numbers(version), numbers(wanted)];
  const differing = needs.findIndex((number, index) => number !== has[index]);
  return differing < 0 || (has[differing] ?? 0) > (needs[differing] ?? 0);
}

/** Nothing for class NONE: that takes away what was set. */
export function ioPriority(
  { class: wanted, priority }: LinuxIOPriority,
  runtime: RuntimeAbility,
): Pick<Process, 'ioPriority'> {
  if (wanted === IOPrioClass.IOPRIO_CLASS_NONE) return {};
  need('I/O priority', '1.1.0', runtime);
  return { ioPriority: { class: iOPrioClassToJSON(wanted), priority } };
}

/** Nothing for policy NONE. */
export function scheduler(
  wanted: LinuxScheduler,
  runtime: RuntimeAbility,
): Pick<Process, 'scheduler'> {
  const { policy, nice, priority, flags, ...times } = wanted;
  if (policy === LinuxSchedulerPolicy.SCHED_NONE) return {};
  need('scheduler', '1.1.0', runtime);
  const given = Object.entries(times).filter(([, value]) => value !== 0n);
  return {
    scheduler: {
      policy: linuxSchedulerPolicyToJSON(policy),
      ...(nice === 0 ? {} : { nice }),
      ...(priority === 0 ? {} : { priority }),
      ...(flags.length === 0 ? {} : { flags: flags.map(linuxSchedulerFlagToJSON) }),
      ...Object.fromEntries(
        given.map(([key, value]) => [key, toNumber(`scheduler ${key}`, value)]),
      ),
    },
  };
}
