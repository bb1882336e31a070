import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type DeepPartial,
  type LinuxContainerSecurityContext,
  NamespaceMode,
  SecurityProfile_ProfileType as ProfileType,
} from '../../src/gen/runtime/v1/api.ts';
import { run } from '../../src/linux/index.ts';
import {
  containerConfig,
  createContainer,
  logLines,
  type Pod,
  runContainer,
  runPod,
} from '../harness/index.ts';
import { codeOf, criSuite, ended, execIn, runToEnd, shell } from './suite.ts';

// What a host without AppArmor answers is tested in security.test.ts.
const LOADED = '/sys/kernel/security/apparmor/profiles';
const PARSER = '/sbin/apparmor_parser';
const missing = [LOADED, PARSER].filter((path) => !existsSync(path));
const suite =
  missing.length > 0 ? undefined : criSuite({ config: '[runtimes.runc]\ntype = "runc"\n' });

const LOCALHOST = `keelson-test-${process.pid}`;
const POLICY = `profile ${LOCALHOST} flags=(attach_disconnected,mediate_deleted) {
  file, network, capability, signal, umount, mount,
  deny /etc/motd w,
}
`;

async function parser(argument: '--replace' | '--remove', policy: string): Promise<void> {
  const result = await run(PARSER, [argument, '--skip-cache'], { input: policy });
  if (result.code !== 0) throw new Error(result.stderr.toString());
}

type Security = DeepPartial<LinuxContainerSecurityContext>;
const localhost = { profileType: ProfileType.Localhost, localhostRef: LOCALHOST };
const runtimeDefault = { profileType: ProfileType.RuntimeDefault };
const unconfined = { profileType: ProfileType.Unconfined };
const DEFAULT = 'keelson-default (enforce)';

const title = missing.length > 0 ? `AppArmor (without ${missing.join(', ')}: skipped)` : 'AppArmor';
describe.skipIf(suite === undefined)(title, () => {
  beforeAll(() => parser('--replace', POLICY));
  afterAll(() => parser('--remove', POLICY));

  test('Status says that the host has it', async () => {
    const { info } = await suite!.daemon.runtime.status({ verbose: true });
    expect(JSON.parse(info['host']!)).toMatchObject({ apparmor: true });
  });

  describe.each(['crun', 'runc'])('%s', (handler) => {
    let pod: Pod;
    let privilegedPod: Pod;

    beforeAll(async () => {
      const privileged = { linux: { securityContext: { privileged: true } } };
      pod = await runPod(suite!.daemon, {}, handler);
      privilegedPod = await runPod(suite!.daemon, privileged, handler);
    });

    /** Runs a line of shell under a security context and answers the last line that it wrote. */
    async function say(script: string, securityContext: Security, on = pod) {
      const changes = { ...shell(`{ ${script}; } 2>&1`), linux: { securityContext } };
      return (await runToEnd(suite!.daemon, on, suite!.image, changes)).lines.at(-1);
    }
    const profileOf = (security: Security, on = pod) =>
      say('cat /proc/self/attr/current', security, on);

    test('whatever names none has the default profile, a privileged container has none', async () => {
      expect(await profileOf({})).toBe(DEFAULT);
      expect(await profileOf({ apparmor: runtimeDefault })).toBe(DEFAULT);
      expect(await profileOf({ apparmorProfile: 'runtime/default' })).toBe(DEFAULT);
      expect(await profileOf({ apparmor: unconfined })).toBe('unconfined');
      expect(await profileOf({ apparmorProfile: 'unconfined' })).toBe('unconfined');
      const privileged = { privileged: true };
      expect(await profileOf(privileged, privilegedPod)).toBe('unconfined');
      const withDefault = { ...privileged, apparmor: runtimeDefault };
      expect(await profileOf(withDefault, privilegedPod)).toBe('unconfined');
    });

    test('the default profile forbids mounts and settings of the kernel, and little else', async () => {
      const able = {
        capabilities: { addCapabilities: ['SYS_ADMIN'] },
        maskedPaths: [],
        readonlyPaths: [],
      };
      const mount = 'mkdir -p /m && mount -t tmpfs none /m && echo done || echo refused';
      const setting =
        'cat /proc/sys/vm/overcommit_ratio > /proc/sys/vm/overcommit_ratio && echo done || echo refused';
      for (const script of [mount, setting]) {
        expect(await say(script, { ...able, apparmor: runtimeDefault }), script).toBe('refused');
        expect(await say(script, { ...able, apparmor: unconfined }), script).toBe('done');
      }
      const work =
        'sleep 1000 & kill $! && echo x > /tmp/x && echo x > /dev/null && echo 5 > /proc/self/oom_score_adj && echo done';
      expect(await say(work, {})).toBe('done');
    });

    test('a profile of the node confines a container, its commands, and privileged ones', async () => {
      const script = 'echo x > /etc/motd && echo done || echo refused';
      const other = 'echo x > /etc/mot && echo done || echo refused';
      expect(await profileOf({ apparmor: localhost })).toBe(`${LOCALHOST} (enforce)`);
      expect(await profileOf({ apparmorProfile: `localhost/${LOCALHOST}` })).toBe(
        `${LOCALHOST} (enforce)`,
      );
      const both = {
        apparmor: { ...localhost, localhostRef: `localhost/${LOCALHOST}` },
        apparmorProfile: 'localhost/keelson-absent',
      };
      expect(await profileOf(both)).toBe(`${LOCALHOST} (enforce)`);
      expect(await say(script, {})).toBe('done');
      expect(await say(script, { apparmor: localhost })).toBe('refused');
      expect(await say(other, { apparmor: localhost })).toBe('done');
      const privileged = { privileged: true, apparmor: localhost };
      expect(await say(script, privileged, privilegedPod)).toBe('refused');
      const linux = { securityContext: { apparmor: localhost } };
      const config = containerConfig(suite!.image, { linux });
      const id = await runContainer(suite!.daemon, pod, config);
      expect(await execIn(suite!.daemon, id, `${script} 2>&1`)).toMatch(/refused$/);
      expect(await execIn(suite!.daemon, id, 'cat /proc/self/attr/current')).toBe(
        `${LOCALHOST} (enforce)`,
      );
    });

    test('a profile that is not loaded is refused by its name', async () => {
      const absent = { ...localhost, localhostRef: 'keelson-absent' };
      const attempt = (securityContext: Security, on = pod) =>
        createContainer(
          suite!.daemon,
          on,
          containerConfig(suite!.image, { linux: { securityContext } }),
        );
      const refused = attempt({ apparmor: absent });
      await expect(refused).rejects.toThrow('"keelson-absent"');
      expect(await codeOf(refused)).toBe('INVALID_ARGUMENT');
      const privileged = attempt({ privileged: true, apparmor: absent }, privilegedPod);
      expect(await codeOf(privileged)).toBe('INVALID_ARGUMENT');
    });

    test('a default profile that was taken out is loaded again', async () => {
      await parser('--remove', 'profile keelson-default {}');
      expect(await readFile(LOADED, 'utf8')).not.toContain('keelson-default');
      expect(await profileOf({})).toBe(DEFAULT);
    });

    test('confined containers and inits of pods are told to end, and do', async () => {
      const { daemon, image } = suite!;
      const linux = { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } };
      const shared = await runPod(daemon, { linux }, handler);
      const config = containerConfig(image, {
        ...shell(
          'trap "echo told; exit 3" TERM; cat /proc/1/attr/current; while :; do sleep 0.1; done',
        ),
        linux,
      });
      const id = await runContainer(daemon, shared, config);
      await daemon.runtime.stopContainer({ containerId: id, timeout: 30n });
      expect((await ended(daemon, id)).exitCode).toBe(3);
      expect(await logLines(shared, config)).toEqual([DEFAULT, 'told']);
      await daemon.runtime.stopPodSandbox({ podSandboxId: shared.id });
    });
  });
});
