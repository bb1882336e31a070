import { randomBytes } from 'node:crypto';

/** A new sandbox or container id: 32 random bytes as 64 lower-case hex digits. */
export function newId(): string {
  return randomBytes(32).toString('hex');
}

/** The form of an id that people read. */
export function shortId(id: string): string {
  return id.slice(0, 13);
}
