import { constants } from 'node:os';
import { KeelsonError } from '../base/index.ts';

/** SIGRTMIN and SIGRTMAX as the C library has them (signal(7)). */
const REALTIME = { RTMIN: 34, RTMAX: 64 } as const;
const ALIASES: Record<string, string> = { CLD: 'CHLD', POLL: 'IO', IOT: 'ABRT' };

/** The number of a signal given as `SIGTERM`, `term`, `15`, `RTMIN+3` or `SIGRTMAX-1`. */
export function signalNumber(text: string): number {
  const name = text.trim().toUpperCase().replace(/^SIG/, '');
  if (/^\d+$/.test(name)) {
    const number = Number(name);
    if (number >= 1 && number <= REALTIME.RTMAX) return number;
  }
  const realtime = /^(RTMIN|RTMAX)(?:([+-])(\d+))?$/.exec(name);
  if (realtime !== null) {
    const base = realtime[1] === 'RTMIN' ? REALTIME.RTMIN : REALTIME.RTMAX;
    const offset = Number(realtime[3] ?? 0) * (realtime[2] === '-' ? -1 : 1);
    const number = base + offset;
    if (number >= REALTIME.RTMIN && number <= REALTIME.RTMAX) return number;
  }
  const known: Record<string, number> = constants.signals;
  const number = known[`SIG${ALIASES[name] ?? name}`];
  if (number === undefined) throw new KeelsonError('INVALID_ARGUMENT', `Unknown signal "${text}"`);
  return number;
}
