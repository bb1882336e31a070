import { KeelsonError } from '../base/index.ts';
import { readFileInRoot } from '../linux/index.ts';
import type { ContainerSecurity } from './config.ts';

/** Whom a container's first process runs as. */
export interface ContainerUser {
  uid: number;
  gid: number;
  supplementalGroups: number[];
}

/**
 * Resolves the user of a container from what was asked, else from the image's `User`
 * (`user`, `uid`, `user:group`, …), with names looked up in the image's own /etc/passwd
 * and /etc/group. Fails with INVALID_ARGUMENT for a name that is not there.
 */
export function resolveUser(
  security: ContainerSecurity,
  imageUser: string,
  rootfs: string,
): ContainerUser {
  const asked = requestedUser(security);
  const [imageName = '', imageGroup = ''] = imageUser.split(':');
  const name = asked ?? imageName;
  const group = asked === undefined ? imageGroup : '';
  const accounts = readAccounts(rootfs);
  const account = findAccount(accounts.users, name);
  const gid =
    security.runAsGroup ?? (group === '' ? (account.gid ?? 0) : findGroup(accounts.groups, group));
  return {
    uid: account.uid,
    gid,
    supplementalGroups: groupsOf(security, accounts.groups, { name: account.name, gid, group }),
  };
}

/** The home directory of a user by the image's own /etc/passwd, `/` where that has none. */
export function homeDirectoryOf(rootfs: string, uid: number): string {
  const line = readLines(rootfs, '/etc/passwd').find(([, , id]) => isId(id) && Number(id) === uid);
  return line?.[5] || '/';
}

/** A user name or number, as asked; undefined leaves it to the image. */
function requestedUser(security: ContainerSecurity): string | undefined {
  if (security.runAsUser !== undefined) return String(security.runAsUser);
  if (security.runAsUsername !== '') return security.runAsUsername;
  if (security.runAsGroup !== undefined) {
    throw new KeelsonError('INVALID_ARGUMENT', 'Cannot run a container as a group alone', {
      reason: 'run_as_group is given without run_as_user or run_as_username',
    });
  }
  return undefined;
}

interface User {
  name: string;
  uid: number;
  gid: number;
}

interface Group {
  name: string;
  gid: number;
  members: string[];
}

/** passwd(5), group(5). Lines that make no sense are skipped. */
function readAccounts(rootfs: string): { users: User[]; groups: Group[] } {
  return {
    users: readLines(rootfs, '/etc/passwd').flatMap(([name, , uid, gid]) =>
      name && isId(uid) && isId(gid) ? [{ name, uid: Number(uid), gid: Number(gid) }] : [],
    ),
    groups: readLines(rootfs, '/etc/group').flatMap(([name, , gid, members]) =>
      name && isId(gid)
        ? [{ name, gid: Number(gid), members: (members ?? '').split(',').filter(Boolean) }]
        : [],
    ),
  };
}

function readLines(rootfs: string, path: string): string[][] {
  const text = readFileInRoot(rootfs, path) ?? '';
  return text.split('\n').map((line) => line.trim().split(':'));
}

function findAccount(
  users: readonly User[],
  name: string,
): { uid: number; gid: number | undefined; name: string | undefined } {
  const wanted = name === '' ? '0' : name;
  // A number is always an id: an image could name an account of root "1000".
  const uid = isId(wanted) ? Number(wanted) : undefined;
  const user = users.find((each) => (uid === undefined ? each.name === wanted : each.uid === uid));
  if (user !== undefined) return user;
  if (uid !== undefined) return { uid, gid: undefined, name: undefined };
  throw new KeelsonError('INVALID_ARGUMENT', `Cannot run a container as user "${name}"`, {
    reason: "the image's /etc/passwd has no such user",
  });
}

function findGroup(groups: readonly Group[], name: string): number {
  if (isId(name)) return Number(name);
  const group = groups.find((each) => each.name === name);
  if (group !== undefined) return group.gid;
  throw new KeelsonError('INVALID_ARGUMENT', `Cannot run a container with group "${name}"`, {
    reason: "the image's /etc/group has no such group",
  });
}

/**
 * The groups beside the primary one, which is listed too, as containerd and CRI-O do.
 * An image user with a group of its own has no memberships (OCI image config, `User`).
 */
function groupsOf(
  security: ContainerSecurity,
  groups: readonly Group[],
  user: { name: string | undefined; gid: number; group: string },
): number[] {
  const { name } = user;
  const member =
    security.supplementalGroupsPolicy === 'strict' || name === undefined || user.group !== ''
      ? []
      : groups.filter((group) => group.members.includes(name)).map((group) => group.gid);
  return [...new Set([user.gid, ...member, ...security.supplementalGroups])].sort((a, b) => a - b);
}

function isId(text: string | undefined): boolean {
  return text !== undefined && /^\d{1,10}$/.test(text) && Number(text) < 2 ** 32 - 1;
}
