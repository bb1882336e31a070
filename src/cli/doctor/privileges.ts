import { readFile } from 'node:fs/promises';
import { type Finding, missing, note, ok } from './finding.ts';

/** Bits of the capabilities of capabilities(7) without which no container can be made. */
const REQUIRED: Readonly<Record<string, number>> = {
  CAP_CHOWN: 0,
  CAP_DAC_OVERRIDE: 1,
  CAP_FOWNER: 3,
  CAP_KILL: 5,
  CAP_SETGID: 6,
  CAP_SETUID: 7,
  CAP_SETPCAP: 8,
  CAP_NET_ADMIN: 12,
  CAP_SYS_CHROOT: 18,
  CAP_SYS_ADMIN: 21,
  CAP_MKNOD: 27,
  CAP_SETFCAP: 31,
};

const SYS_RESOURCE = 24;

/** Who runs this and what the kernel lets it do. */
export async function privilegeFindings(): Promise<Finding[]> {
  if (process.geteuid?.() !== 0) {
    return [missing('user', 'not root', 'run "keelson doctor" and "keelson serve" as root')];
  }
  const status = await readFile('/proc/self/status', 'latin1');
  return [ok('user', 'root'), ...capabilityFindings(status)];
}

/** Reads the effective set from the text of /proc/PID/status. */
export function capabilityFindings(status: string): Finding[] {
  const set = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const has = (bit: number) => ((set >> BigInt(bit)) & 1n) === 1n;
  const lacking = Object.entries(REQUIRED).filter(([, bit]) => !has(bit));
  const findings = lacking.map(([name]) =>
    missing('capabilities', `no ${name}`, 'start the host or the outer container with it'),
  );
  if (!has(SYS_RESOURCE)) {
    findings.push(
      note(
        'capabilities',
        'no CAP_SYS_RESOURCE: oom_score_adj cannot be lowered, nor limits raised; both are clamped',
        'start the host or the outer container with it',
      ),
    );
  }
  return findings.length > 0 ? findings : [ok('capabilities', 'all that are needed')];
}
