import {
  type SecurityProfile as CriProfile,
  type SELinuxOption as CriSelinux,
  type Int64Value,
  SecurityProfile_ProfileType as ProfileType,
} from '../gen/runtime/v1/api.ts';
import type { SecurityProfile, SelinuxOptions } from '../pods/index.ts';
import { invalid, noNul, required, toNumber } from './invalid.ts';

/** The message, or else the string of older kubelets: `runtime/default`, `localhost/…`. */
export function toProfile(
  field: string,
  profile: CriProfile | undefined,
  path = '',
): SecurityProfile | undefined {
  if (profile !== undefined) return fromMessage(field, profile);
  if (path === '') return undefined;
  if (path === 'unconfined') return { type: 'unconfined' };
  if (path === 'runtime/default' || path === 'docker/default') return { type: 'runtime-default' };
  if (path.startsWith('localhost/')) {
    return { type: 'localhost', reference: noNul(field, path.slice('localhost/'.length)) };
  }
  throw invalid(field, `there is no profile "${path}"`);
}

function fromMessage(field: string, profile: CriProfile): SecurityProfile {
  const reference = noNul(`${field}.localhost_ref`, profile.localhostRef);
  switch (profile.profileType) {
    case ProfileType.RuntimeDefault:
      return { type: 'runtime-default' };
    case ProfileType.Unconfined:
      return { type: 'unconfined' };
    case ProfileType.Localhost:
      return { type: 'localhost', reference: required(`${field}.localhost_ref`, reference) };
    default:
      throw invalid(field, `there is no profile type ${profile.profileType}`);
  }
}

/** What a part of an SELinux label is made of; a colon would begin the next part. */
const LABEL_PART = /^[\w.]*$/;
/** A sensitivity and its categories, or a range of two such: `s0`, `s0:c1,c2`, `s0-s0:c0.c1023`. */
const LABEL_LEVEL = /^(s\d+(:c\d+([.,]c\d+)*)?(-s\d+(:c\d+([.,]c\d+)*)?)?)?$/;

export function toSelinux(
  field: string,
  given: CriSelinux | undefined,
): SelinuxOptions | undefined {
  if (given === undefined) return undefined;
  const { user, role, type, level } = given;
  for (const [name, value] of Object.entries({ user, role, type })) {
    if (!LABEL_PART.test(value)) throw invalid(`${field}.${name}`, `"${value}" is not one`);
  }
  if (!LABEL_LEVEL.test(level)) throw invalid(`${field}.level`, `"${level}" is not one`);
  return { user, role, type, level };
}

/** An id that may be left out. */
export function toOptionalId(field: string, given: Int64Value | undefined): number | undefined {
  return given === undefined ? undefined : toId(field, given.value);
}

/** User and group ids have 32 bits; the last one means "nobody" to the kernel. */
export function toId(field: string, value: bigint): number {
  const id = toNumber(field, value);
  if (id < 0 || id >= 2 ** 32 - 1) throw invalid(field, `${id} is out of range`);
  return id;
}
