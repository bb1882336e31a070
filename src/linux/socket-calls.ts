import koffi from 'koffi';

/**
 * The socket and pty calls that Node does not offer, as src/linux/ffi.ts has the others.
 * Structures are laid out for 64-bit Linux, the only one that Node is built for.
 */
const libc = koffi.load('libc.so.6');

koffi.struct('keelson_iovec', { base: 'void *', length: 'size_t' });
koffi.struct('keelson_msghdr', {
  name: 'void *',
  nameLength: 'uint32_t',
  vectors: 'keelson_iovec *',
  vectorCount: 'size_t',
  control: 'void *',
  controlLength: 'size_t',
  flags: 'int',
});

export const socketCalls = {
  socketpair: libc.func('int socketpair(int domain, int type, int protocol, _Out_ int *pair)'),
  connect: libc.func('int connect(int fd, const uint8_t *address, uint32_t length)'),
  recvmsg: libc.func('long recvmsg(int fd, _Inout_ keelson_msghdr *message, int flags)'),
  dup3: libc.func('int dup3(int from, int to, int flags)'),
  posixOpenpt: libc.func('int posix_openpt(int flags)'),
};

export const AF = { UNIX: 1, INET: 2, INET6: 10 } as const;
export const SOCK = {
  STREAM: 1,
  DGRAM: 2,
  SEQPACKET: 5,
  NONBLOCK: 0x800,
  CLOEXEC: 0x80000,
} as const;
export const O = { RDWR: 2, NOCTTY: 0x100, NONBLOCK: 0x800, CLOEXEC: 0x80000 } as const;
