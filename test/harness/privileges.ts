import { readFileSync } from 'node:fs';

/** Number of the capability (linux/capability.h). */
const SYS_RESOURCE = 24n;

/** Whether this process may go beyond limits: containers often may not, and the kernel then refuses to grow a mounted ext4. */
export function hasSysResource(): boolean {
  const status = readFileSync('/proc/self/status', 'utf8');
  const effective = BigInt(`0x${/^CapEff:\s*(\w+)$/m.exec(status)?.[1]}`);
  return (effective & (1n << SYS_RESOURCE)) !== 0n;
}
