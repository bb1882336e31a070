import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NEVER, newId, sleep } from '../../base/index.ts';
import { findProgram, identifyProcess, isAlive, killGroup, unmountAll } from '../../linux/index.ts';
import { buildRuntimeConfig, parseCapabilityMask } from '../spec/index.ts';
import { Conmon, killMonitor, MONITOR_FILES, type MonitorRequest } from './conmon.ts';
import { OciRuntime, type RuntimeType } from './oci-runtime.ts';

const CONMON = findProgram('conmon') ?? 'conmon';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-conmon-'));
  await mkdir(join(directory, 'bundle/rootfs'), { recursive: true });
  await mkdir(join(directory, 'exits'));
});
afterEach(async () => {
  for (const pid of processesNaming(directory)) killGroup(pid);
  unmountAll(join(directory, 'bundle/rootfs'));
  await rm(directory, { recursive: true });
});

/** All processes whose command line or working directory is below the directory. */
function processesNaming(path: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return command.includes(path) || readlinkSync(`/proc/${pid}/cwd`).startsWith(path);
      } catch {
        return false;
      }
    });
}

function openRuntime(type: RuntimeType, path = findProgram(type) ?? type): OciRuntime {
  const root = join(directory, 'root');
  return new OciRuntime({ handler: type, type, path, root, systemdCgroup: false });
}

function requestFor(runtime: OciRuntime): MonitorRequest {
  return {
    id: newId(),
    name: 'test',
    runtime,
    bundle: join(directory, 'bundle'),
    exitDirectory: join(directory, 'exits'),
    logPath: undefined,
    terminal: false,
    stdin: false,
    stdinOnce: false,
  };
}

const cgroupOf = (id: string) => `keelson-test-${id.slice(0, 16)}`;

/** Where there is a cgroup of that name: in any tree, or what stands beside the trees. */
function cgroupsNamed(name: string): string[] {
  const trees = readdirSync('/sys/fs/cgroup', { withFileTypes: true });
  const places = trees.filter((tree) => tree.isDirectory()).map((tree) => `${tree.name}/${name}`);
  return [name, ...places].filter((place) => existsSync(join('/sys/fs/cgroup', place)));
}

/** Writes the bundle of a container that runs `args`; only catatonit, as /init, is in there. */
async function writeBundle(id: string, args: string[]): Promise<void> {
  const config = buildRuntimeConfig({
    rootfs: join(directory, 'bundle/rootfs'),
    readonlyRootfs: false,
    process: {
      ...{ args, env: [], cwd: '/', user: { uid: 0, gid: 0 }, terminal: false },
      ...{
        noNewPrivileges: true,
        oomScoreAdj: undefined,
        apparmorProfile: undefined,
        selinuxLabel: undefined,
      },
    },
    privileged: false,
    capabilities: { add: [], drop: ['ALL'], addAmbient: [] },
    seccomp: undefined,
    namespaces: { mount: undefined, pid: undefined, network: undefined, ipc: undefined },
    userMappings: undefined,
    mounts: [
      {
        destination: '/init',
        type: 'bind',
        source: findProgram('catatonit') ?? '',
        options: ['bind', 'ro'],
      },
    ],
    rootfsPropagation: 'rprivate',
    mountLabel: undefined,
    ...{ devices: [], maskedPaths: [], readonlyPaths: [], resources: {}, annotations: {} },
    cgroupsPath: `/${cgroupOf(id)}`,
    host: { boundingCapabilities: parseCapabilityMask('0'), cgroupV2: false },
  });
  await writeFile(join(directory, 'bundle/config.json'), JSON.stringify(config));
}

/** A runtime that is a shell script. */
async function scripted(name: string, script: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

describe.each(['crun', 'runc'] as const)('with %s', (type) => {
  test('a container is created, started, and its exit code written down', async () => {
    const runtime = openRuntime(type);
    const request = requestFor(runtime);
    await writeBundle(request.id, ['/init', '-P']);
    try {
      const pid = await new Conmon(CONMON).create(request, AbortSignal.timeout(20_000));
      const process = identifyProcess(pid)!;
      expect(await runtime.state(request.id, NEVER)).toMatchObject({ status: 'created', pid });
      await runtime.start(request.id, NEVER);
      expect(await runtime.state(request.id, NEVER)).toMatchObject({ status: 'running', pid });
      expect(await runtime.kill(request.id, 'SIGKILL', NEVER)).toBe(true);
      const exit = join(request.exitDirectory, request.id);
      await expect.poll(() => existsSync(exit), { timeout: 10_000 }).toBe(true);
      expect(await readFile(exit, 'utf8')).toBe('137');
      expect(isAlive(process)).toBe(false);
      expect(await runtime.kill(request.id, 'SIGKILL', NEVER)).toBe(false);
    } finally {
      await runtime.delete(request.id, NEVER);
    }
    expect(await runtime.state(request.id, NEVER)).toBeUndefined();
    expect(cgroupsNamed(cgroupOf(request.id))).toEqual([]);
  });

  test('a program that is not in the image is named', async () => {
    const runtime = openRuntime(type);
    const request = requestFor(runtime);
    await writeBundle(request.id, ['/no/such/program']);
    try {
      await expect(new Conmon(CONMON).create(request, AbortSignal.timeout(20_000))).rejects.toThrow(
        /^Cannot create container "[0-9a-f]{64}": .*no\/such\/program/,
      );
    } finally {
      await runtime.delete(request.id, NEVER);
    }
    expect(await runtime.state(request.id, NEVER)).toBeUndefined();
    await expect.poll(() => processesNaming(directory)).toEqual([]);
  });
});

describe('creating', () => {
  const HANGING = 'exec sleep 1000';

  test('is said to fail in the words of the runtime', async () => {
    const path = await scripted(
      'runtime',
      'echo \'{"level":"error","msg":"no luck"}\' >&2; exit 1',
    );
    const request = requestFor(openRuntime('runc', path));
    await expect(new Conmon(CONMON).create(request, NEVER)).rejects.toMatchObject({
      message: `Cannot create container "${request.id}": ${path}: no luck`,
    });
  });

  test('ends with the monitor and the runtime when it is aborted', async () => {
    const pidFile = join(directory, 'runtime.pid');
    const path = await scripted('runtime', `echo $$ > ${pidFile}; ${HANGING}`);
    const abort = new AbortController();
    const creating = new Conmon(CONMON).create(requestFor(openRuntime('runc', path)), abort.signal);
    creating.catch(() => {});
    await expect.poll(() => readFile(pidFile, 'utf8').catch(() => '')).toMatch(/\n/);
    const runtime = Number(await readFile(pidFile, 'utf8'));
    abort.abort(new Error('client is gone'));
    await expect(creating).rejects.toThrow('client is gone');
    await expect.poll(() => identifyProcess(runtime)).toBeUndefined();
    await expect.poll(() => processesNaming(directory)).toEqual([]);
  });

  test('leaves nothing when it is aborted before the monitor has said its pid', async () => {
    const path = await scripted('runtime', HANGING);
    const conmon = await scripted('conmon', 'sleep 1000');
    const abort = new AbortController();
    const creating = new Conmon(conmon).create(requestFor(openRuntime('runc', path)), abort.signal);
    creating.catch(() => {});
    await expect.poll(() => processesNaming(conmon).length).toBeGreaterThan(0);
    abort.abort(new Error('client is gone'));
    await expect(creating).rejects.toThrow('client is gone');
    await expect.poll(() => processesNaming(directory)).toEqual([]);
  });

  test('leaves nothing in whichever moment it is aborted', async () => {
    const path = await scripted('runtime', HANGING);
    for (let delay = 0; delay < 5; delay += 0.1) {
      const bundle = join(directory, `bundle-${delay}`);
      await mkdir(bundle);
      await writeFile(join(bundle, 'config.json'), '{}');
      const abort = new AbortController();
      const request = { ...requestFor(openRuntime('runc', path)), bundle };
      const creating = new Conmon(CONMON).create(request, abort.signal);
      creating.catch(() => {});
      await sleep(delay, NEVER);
      abort.abort(new Error('client is gone'));
      await expect(creating).rejects.toThrow('client is gone');
    }
    await expect.poll(() => processesNaming(directory)).toEqual([]);
  });

  test('does not begin when it is aborted already', async () => {
    const request = requestFor(openRuntime('crun'));
    const signal = AbortSignal.abort(new Error('gone'));
    await expect(new Conmon(CONMON).create(request, signal)).rejects.toThrow('gone');
    expect(existsSync(join(request.bundle, MONITOR_FILES.log))).toBe(false);
  });

  test('without a monitor program is FAILED_PRECONDITION', async () => {
    const request = requestFor(openRuntime('crun'));
    await expect(new Conmon('/nonexistent/conmon').create(request, NEVER)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
    });
  });

  test('by a monitor that dies is said in its last words', async () => {
    const conmon = await scripted('conmon', 'echo "conmon: out of luck" >&2; exit 1');
    const request = requestFor(openRuntime('crun'));
    await expect(new Conmon(conmon).create(request, NEVER)).rejects.toThrow('conmon: out of luck');
  });
});

describe('killing a monitor', () => {
  test('that is not there is fine', () => killMonitor(join(directory, 'bundle')));

  test('spares a process that only has its number', async () => {
    const bundle = join(directory, 'bundle');
    await writeFile(join(bundle, MONITOR_FILES.conmonPid), String(process.pid));
    await killMonitor(bundle);
    await writeFile(join(bundle, MONITOR_FILES.conmonPid), 'garbage');
    await killMonitor(bundle);
  });
});
