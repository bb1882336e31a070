import { getSystemErrorMap } from 'node:util';
import koffi from 'koffi';
import { KeelsonError } from '../base/errors.ts';

/**
 * System calls that Node does not offer, through the C library. All are called
 * synchronously and must be short: the event loop waits for them.
 */
// Asynchronous calls wait for a few threads. One too many fails: when many pods end at once,
// each has several.
koffi.config({ max_async_calls: 4096 });
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
  llistxattr: libc.func('long llistxattr(const char *path, _Out_ void *names, size_t size)'),
  syncfs: libc.func('int syncfs(int fd)'),
  utimensat: libc.func(
    'int utimensat(int directory, const char *path, const int64_t *times, int flags)',
  ),
  mknod: libc.func('int mknod(const char *path, unsigned int mode, uint64_t device)'),
  lsetxattr: libc.func(
    'int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)',
  ),
  lgetxattr: libc.func(
    'long lgetxattr(const char *path, const char *name, _Out_ void *value, size_t size)',
  ),
  openat2: libc.func(
    'long syscall(long number, int directory, const char *path, void *how, uint64_t size)',
  ),
  openTree: libc.func(
    'long syscall(long number, int directory, const char *path, unsigned int flags)',
  ),
  moveMount: libc.func(
    'long syscall(long number, int from, const char *fromPath, int to, const char *toPath, unsigned int flags)',
  ),
  mountSetattr: libc.func(
    'long syscall(long number, int directory, const char *path, unsigned int flags, const uint8_t *attributes, size_t size)',
  ),
  socket: libc.func('int socket(int domain, int type, int protocol)'),
  bind: libc.func('int bind(int fd, const uint8_t *address, unsigned int size)'),
  setsockopt: libc.func(
    'int setsockopt(int fd, int level, int option, const uint8_t *value, unsigned int size)',
  ),
  send: libc.func('long send(int fd, const uint8_t *data, size_t size, int flags)'),
  recv: libc.func('long recv(int fd, _Out_ uint8_t *data, size_t size, int flags)'),
  pidfdOpen: libc.func('long syscall(long number, int pid, unsigned int flags)'),
  pidfdGetfd: libc.func('long syscall(long number, int pidfd, int fd, unsigned int flags)'),
  fcntl: libc.func('int fcntl(int fd, int command, ...)'),
  pipe2: libc.func('int pipe2(_Out_ uint8_t *ends, int flags)'),
  mallocTrim: libc.func('int malloc_trim(size_t pad)'),
  flock: libc.func('int flock(int fd, int operation)'),
  ioctlNumber: libc.func('int ioctl(int fd, unsigned long request, long argument)'),
  ioctl: libc.func('int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)'),
};

// ERESTART is what nftables answers a transaction that came too late; libuv does not know it.
const names = new Map([
  ...[...getSystemErrorMap()].map(([errno, [name]]): [number, string] => [-errno, name]),
  [85, 'ERESTART'],
]);

/**
 * Calls a function of `raw` and answers its result; a negative one becomes an error
 * whose message names the call and its `what`, and whose `errno` is symbolic.
 */
export function syscall(what: string, call: () => number | bigint): number {
  const result = Number(call());
  if (result >= 0) return result;
  throw new SystemCallError(what, koffi.errno());
}

/**
 * Resolves to the answer of a function that `call` starts in the thread pool, for what may
 * take long. `check` sees it first, while the error number is that of this call.
 */
export function inThreadPool<T>(
  call: (settle: (error: unknown, answer: T) => void) => void,
  check: (answer: T) => void = () => {},
): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, answer) => {
      if (error !== null) return reject(error);
      try {
        check(answer);
        resolve(answer);
      } catch (failure) {
        reject(failure);
      }
    });
  });
}

/** The symbolic name of an errno number, such as `ENOENT`. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

/** A failed system call. `code` is the symbolic errno, as in Node's own system errors. */
export class SystemCallError extends Error {
  readonly code: string;

  constructor(what: string, errno: number) {
    const code = errnoName(errno);
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

/** A path for C: a string, or bytes where names need not be UTF-8. Neither may hold a NUL byte. */
export function cPath(path: string | Uint8Array): string | Uint8Array {
  if (typeof path === 'string') return cString(path);
  if (path.includes(0)) return cString(Buffer.from(path).toString('latin1'));
  return Buffer.concat([path, Buffer.alloc(1)]);
}
