const SECOND = 1;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How long ago a time in Unix nanoseconds was, such as `2 minutes ago`. */
export function ago(nanoseconds: bigint, now: number = Date.now()): string {
  return `${humanDuration(now - Number(nanoseconds / 1_000_000n))} ago`;
}

/** A duration in milliseconds in the words and steps of crictl. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  const minutes = Math.floor(seconds / MINUTE);
  const hours = Math.floor(seconds / HOUR + 0.5);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  const days = Math.floor((hours * HOUR) / DAY);
  if (days < 14) return `${days} days`;
  if (days < 60) return `${Math.floor(days / 7)} weeks`;
  if (days < 730) return `${Math.floor(days / 30)} months`;
  return `${Math.floor(days / 365)} years`;
}

/** Bytes in decimal units with the given number of significant digits, such as `4.26MB`. */
export function humanSize(bytes: number | bigint, digits = 4): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${Number(value.toPrecision(digits))}${units[unit]}`;
}

/** An id of a pod, container or image as people read it. */
export function truncatedId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 13);
}

/** Unix nanoseconds as RFC 3339 with all nine digits, UTC. 0 is the zero time of Go. */
export function timestamp(nanoseconds: bigint): string {
  if (nanoseconds === 0n) return '0001-01-01T00:00:00Z';
  const seconds = new Date(Number(nanoseconds / 1_000_000n)).toISOString().slice(0, 19);
  return `${seconds}.${String(nanoseconds % 1_000_000_000n).padStart(9, '0')}Z`;
}

/** Text from outside: without control characters it cannot steer the terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, '?');
}
