import { getSystemErrorMap } from 'node:util';
import koffi from 'koffi';
import { KeelsonError } from '../base/index.ts';

/**
 * System calls that Node does not offer, through the C library. All are called
 * synchronously and must be short: the event loop waits for them.
 */
const libc = koffi.load('libc.so.6');

export const raw = {
  mount: libc.func(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  ),
  umount2: libc.func('int umount2(const char *target, int flags)'),
  unshare: libc.func('int unshare(int flags)'),
  setns: libc.func('int setns(int fd, int type)'),
  sethostname: libc.func('int sethostname(const char *name, size_t length)'),
  setdomainname: libc.func('int setdomainname(const char *name, size_t length)'),
  mknod: libc.func('int mknod(const char *path, unsigned int mode, uint64_t device)'),
  lsetxattr: libc.func(
    'int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)',
  ),
  lgetxattr: libc.func(
    'long lgetxattr(const char *path, const char *name, _Out_ void *value, size_t size)',
  ),
  socket: libc.func('int socket(int domain, int type, int protocol)'),
  ioctl: libc.func('int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)'),
};

const names = new Map([...getSystemErrorMap()].map(([errno, [name]]) => [-errno, name]));

/**
 * Calls a function of `raw` and answers its result; a negative one becomes an error
 * whose message names the call and its `what`, and whose `errno` is symbolic.
 */
export function syscall(what: string, call: () => number | bigint): number {
  const result = Number(call());
  if (result >= 0) return result;
  throw new SystemCallError(what, koffi.errno());
}

/** A failed system call. `code` is the symbolic errno, as in Node's own system errors. */
export class SystemCallError extends Error {
  readonly code: string;

  constructor(what: string, errno: number) {
    const code = names.get(errno) ?? `errno ${errno}`;
    super(`${what}: ${code}`);
    this.code = code;
  }
}

/** A string that is safe to hand to C: one without a NUL byte. */
export function cString(text: string): string {
  if (text.includes('\0')) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot use ${JSON.stringify(text)}`, {
      reason: 'it holds a NUL byte',
    });
  }
  return text;
}
