import { readFile } from 'node:fs/promises';
import type { CniDns, JsonReader } from '../spec/index.ts';

/** The well-known `dns` key of a configuration. */
export function readDns(reader: JsonReader | undefined): CniDns {
  const list = (key: string) => {
    const values = reader?.get(key)?.strings();
    return values === undefined ? {} : { [key]: values };
  };
  const domain = reader?.get('domain')?.string();
  return {
    ...list('nameservers'),
    ...(domain === undefined || domain === '' ? {} : { domain }),
    ...list('search'),
    ...list('options'),
  };
}

/** Whether anything is set. */
export function hasDns(dns: CniDns): boolean {
  return Object.keys(dns).length > 0;
}

/** The settings in a file of the form of resolv.conf(5). */
export async function readResolvConf(path: string): Promise<CniDns> {
  const dns: Required<CniDns> = { nameservers: [], domain: '', search: [], options: [] };
  for (const line of (await readFile(path, 'utf8')).split('\n')) {
    const [keyword = '', ...values] = line.trim().split(/\s+/);
    const first = values[0];
    if (keyword.startsWith('#') || keyword.startsWith(';') || first === undefined) continue;
    if (keyword === 'nameserver') dns.nameservers.push(first);
    else if (keyword === 'domain') dns.domain = first;
    else if (keyword === 'search') dns.search.push(...values);
    else if (keyword === 'options') dns.options.push(...values);
  }
  return Object.fromEntries(
    Object.entries(dns).filter(([, value]) => value.length > 0),
  ) as unknown as CniDns;
}
