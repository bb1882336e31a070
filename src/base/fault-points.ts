/**
 * Places where tests kill the daemon, to see that the next start repairs. Off unless the
 * environment names a point when the process starts:
 *
 *     KEELSON_FAULT_POINT="run-pod-sandbox/create network namespace"
 */
const armed = process.env['KEELSON_FAULT_POINT'];

export function faultPoint(name: string): void {
  if (armed === name) process.kill(process.pid, 'SIGKILL');
}
