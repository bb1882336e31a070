import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { errnoOf, KeelsonError } from '../../base/index.ts';
import { insideOpenNamespace } from '../namespaces.ts';
import { type Address, AF, decodeAddress, listAddresses } from './addresses.ts';
import { decodeLink, getLink, type Link, type LinkRef, listLinks } from './links.ts';
import type { Request } from './messages.ts';
import { decodeRoute, isClonedRoute, listRoutes, type Route } from './routes.ts';
import { decodeRule, listRules, type Rule } from './rules.ts';
import { NETLINK, NetlinkSocket } from './socket.ts';

/**
 * A network namespace to work in: its links, addresses, routes and sysctls. It is entered
 * only for the moment in which a socket or a sysctl is opened, synchronously. One
 * operation at a time; dispose it.
 *
 *     using pod = NetworkNamespace.open('/run/netns/x');
 *     await pod.change(changeLink(1, { up: true }));
 */
export class NetworkNamespace implements Disposable {
  /** File descriptor of the namespace, to name it in requests. */
  readonly fd: number;
  readonly #home: boolean;
  #route: NetlinkSocket | undefined;
  #netfilter: NetlinkSocket | undefined;

  private constructor(fd: number, home: boolean) {
    this.fd = fd;
    this.#home = home;
  }

  /** The one that the thread is in. */
  static current(): NetworkNamespace {
    return new NetworkNamespace(openSync('/proc/thread-self/ns/net', 'r'), true);
  }

  /** The one at `path`. Throws ENOENT when there is nothing, EINVAL when it is no namespace. */
  static open(path: string): NetworkNamespace {
    const fd = openSync(path, 'r');
    try {
      insideOpenNamespace('net', fd, () => {});
      return new NetworkNamespace(fd, false);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** Runs `work` inside, synchronously. */
  inside<T>(work: () => T): T {
    return this.#home ? work() : insideOpenNamespace('net', this.fd, work);
  }

  get route(): NetlinkSocket {
    this.#route ??= this.inside(() => new NetlinkSocket(NETLINK.ROUTE));
    return this.#route;
  }

  get netfilter(): NetlinkSocket {
    this.#netfilter ??= this.inside(() => new NetlinkSocket(NETLINK.NETFILTER));
    return this.#netfilter;
  }

  /** Carries out rtnetlink requests in order. */
  change(...requests: Request[]): Promise<void> {
    return this.route.change(...requests);
  }

  /** The link of that name or index; undefined when there is none. */
  async findLink(link: LinkRef): Promise<Link | undefined> {
    try {
      return await this.link(link);
    } catch (error) {
      if (errnoOf(error) === 'ENODEV') return undefined;
      throw error;
    }
  }

  /** The link of that name or index. Throws NetlinkError ENODEV when there is none. */
  async link(link: LinkRef): Promise<Link> {
    return decodeLink((await this.route.get(getLink(link))).body);
  }

  links(): Promise<Link[]> {
    return this.route.dump(listLinks(), ({ body }) => decodeLink(body));
  }

  /** The addresses of one link, or of all. */
  addresses(index = 0, family: number = AF.UNSPEC): Promise<Address[]> {
    return this.route.dump(listAddresses(index, family), ({ body }) => decodeAddress(body, index));
  }

  routes(family: number): Promise<Route[]> {
    return this.route.dump(listRoutes(family), ({ body }) =>
      isClonedRoute(body) ? undefined : decodeRoute(body),
    );
  }

  rules(family: number): Promise<Rule[]> {
    return this.route.dump(listRules(family), ({ body }) => decodeRule(body));
  }

  /** The value of a sysctl, such as `net/ipv4/ip_forward`; undefined if the kernel has none. */
  readSysctl(path: string): string | undefined {
    return this.inside(() => {
      try {
        return readFileSync(sysctlFile(path), 'utf8').trim();
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return undefined;
        throw error;
      }
    });
  }

  /** Sets sysctls; answers those that the kernel does not have. */
  writeSysctls(values: Readonly<Record<string, string>>): string[] {
    return this.inside(() =>
      Object.entries(values).flatMap(([path, value]) => (writeOne(path, value) ? [] : [path])),
    );
  }

  [Symbol.dispose](): void {
    this.#route?.[Symbol.dispose]();
    this.#netfilter?.[Symbol.dispose]();
    closeSync(this.fd);
  }
}

function writeOne(path: string, value: string): boolean {
  try {
    writeFileSync(sysctlFile(path), value, { flag: 'r+' });
    return true;
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return false;
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot set sysctl "${path}" to "${value}"`, {
      cause,
    });
  }
}

/** Slashes part the name, because interface names may hold dots. */
function sysctlFile(path: string): string {
  if (!/^net(\/[^/\0]+)+$/.test(path) || path.split('/').some((part) => part === '..')) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot use sysctl "${path}"`, {
      reason: 'it is not a network sysctl',
    });
  }
  return `/proc/sys/${path}`;
}
