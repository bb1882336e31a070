import { closeSync } from 'node:fs';
import { cString, raw, syscall } from './ffi.ts';

// The same numbers on all architectures.
const SYS_OPEN_TREE = 428;
const SYS_MOVE_MOUNT = 429;
const SYS_MOUNT_SETATTR = 442;

const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_RECURSIVE = 0x8000;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const MOUNT_ATTR_IDMAP = 0x100000n;

/** struct mount_attr: what to set and to clear, propagation, the namespace's descriptor. */
const ATTRIBUTES_SIZE = 32;

export interface IdmappedMount {
  source: string;
  /** A file or directory, as the source is. */
  target: string;
  /** A descriptor of the user namespace by whose mapping ids are shown. */
  userNamespace: number;
  /** With the mounts below the source, all of them mapped. */
  recursive?: boolean;
}

/**
 * Makes `source` visible at `target` too, with owners shown by the mapping of a user
 * namespace: what the file system says is root's is, there, the root's of the namespace
 * (mount_setattr(2), Linux 5.12). Fails with EINVAL on a file system that cannot.
 */
export function mountIdmapped({ source, target, userNamespace, recursive }: IdmappedMount): void {
  const deep = recursive ? AT_RECURSIVE : 0;
  const tree = syscall(`clone the mount of ${source}`, () =>
    raw.openTree(
      SYS_OPEN_TREE,
      AT_FDCWD,
      cString(source),
      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | deep,
    ),
  );
  try {
    const attributes = idmap(userNamespace);
    syscall(`map the ids of ${source}`, () =>
      raw.mountSetattr(
        SYS_MOUNT_SETATTR,
        tree,
        '',
        AT_EMPTY_PATH | deep,
        attributes,
        BigInt(attributes.length),
      ),
    );
    syscall(`mount ${source} on ${target}`, () =>
      raw.moveMount(SYS_MOVE_MOUNT, tree, '', AT_FDCWD, cString(target), MOVE_MOUNT_F_EMPTY_PATH),
    );
  } finally {
    closeSync(tree);
  }
}

function idmap(userNamespace: number): Buffer {
  const attributes = Buffer.alloc(ATTRIBUTES_SIZE);
  attributes.writeBigUInt64LE(MOUNT_ATTR_IDMAP, 0);
  attributes.writeBigUInt64LE(BigInt(userNamespace), 24);
  return attributes;
}
