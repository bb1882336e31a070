import type { Config } from '../../config/index.ts';
import { findProgram, run } from '../../linux/index.ts';
import { type Finding, missing, note, ok } from './finding.ts';
import type { Installer } from './packages.ts';

/** How long a program may take to say its version, in milliseconds. */
const PATIENCE = 5000;

export interface ProgramSearch {
  readonly config: Config;
  /** The PATH in which names are looked up. */
  readonly path: string;
  readonly install: Installer;
  readonly signal: AbortSignal;
}

/** OCI runtimes, conmon, the init of pods and the firewall programs. */
export async function programFindings(search: ProgramSearch): Promise<Finding[]> {
  const { config } = search;
  return [
    ...(await runtimeFindings(search)),
    await programFinding(search, config.conmon.path, (detail) =>
      missing('conmon', detail, search.install('conmon')),
    ),
    await programFinding(search, config.sandbox.initPath, (detail) =>
      note(
        'catatonit',
        `${detail}: pods that share a PID namespace fail`,
        search.install('catatonit'),
      ),
    ),
    ...(await firewallFindings(search)),
  ];
}

async function runtimeFindings(search: ProgramSearch): Promise<Finding[]> {
  const { runtimes, defaultRuntime } = search.config;
  const there = new Set<string>();
  const findings: Finding[] = [];
  for (const [name, runtime] of Object.entries(runtimes)) {
    const subject = `runtime ${name}`;
    const version = await versionOf(search, runtime.path);
    if (version !== undefined) {
      there.add(name);
      findings.push(ok(subject, version));
    } else if (name === defaultRuntime || runtime.type !== 'runsc') {
      const why = `"${runtime.path}" is not there: the handler is not offered`;
      findings.push(note(subject, why, search.install(runtime.type)));
    }
  }
  // crun is stood in for by runc.
  const served = there.has(defaultRuntime) || (defaultRuntime === 'crun' && there.has('runc'));
  if (!served) {
    const remedy = search.install(runtimes[defaultRuntime]?.type ?? defaultRuntime);
    findings.push(missing('default runtime', `"${defaultRuntime}" is not there`, remedy));
  }
  return findings;
}

async function firewallFindings(search: ProgramSearch): Promise<Finding[]> {
  const nft = await versionOf(search, 'nft');
  const iptables = await versionOf(search, 'iptables');
  const findings = [
    ...(nft === undefined ? [] : [ok('nftables', nft)]),
    ...(iptables === undefined ? [] : [ok('iptables', iptables)]),
  ];
  if (findings.length > 0) return findings;
  const detail = 'neither nft nor iptables: no masquerading and no host ports';
  return [note('firewall', detail, search.install('nftables'))];
}

async function programFinding(
  search: ProgramSearch,
  program: string,
  otherwise: (detail: string) => Finding,
): Promise<Finding> {
  const version = await versionOf(search, program);
  const absent = otherwise(`"${program}" is not there`);
  return version === undefined ? absent : ok(absent.subject, version);
}

/** Where a program is and what it says its version is; undefined if it is not there. */
async function versionOf(search: ProgramSearch, program: string): Promise<string | undefined> {
  const path = findProgram(program, search.path);
  if (path === undefined) return undefined;
  try {
    const signal = AbortSignal.any([search.signal, AbortSignal.timeout(PATIENCE)]);
    const { stdout, stderr } = await run(path, ['--version'], { signal });
    const line = `${stdout}\n${stderr}`.split('\n').find((text) => text.trim() !== '');
    return line === undefined ? path : `${line.trim()} (${path})`;
  } catch {
    search.signal.throwIfAborted();
    return `${path}, which tells no version`;
  }
}
