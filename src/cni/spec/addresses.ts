import { isV4, parseCidr } from '../../base/index.ts';

/** The family of `address/prefix`, undefined if it is not such. */
export function familyOfCidr(cidr: string): 4 | 6 | undefined {
  const parsed = parseCidr(cidr);
  if (parsed === undefined) return undefined;
  return isV4(parsed.ip) ? 4 : 6;
}

/** The address of `address/prefix`. */
export function addressOfCidr(cidr: string): string {
  return cidr.split('/', 1)[0] ?? cidr;
}
