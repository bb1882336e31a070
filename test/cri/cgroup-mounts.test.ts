import { expect, test } from 'vitest';
import {
  type DeepPartial,
  type LinuxContainerSecurityContext,
  NamespaceMode,
} from '../../src/gen/runtime/v1/api.ts';
import { cgroupLayout, listMounts } from '../../src/linux/index.ts';
import { containerConfig, runContainer, runPod } from '../harness/index.ts';
import { gvisorDiffers, onGvisor } from './gvisor-limits.ts';
import { criSuite, execIn, runToEnd, shell } from './suite.ts';

// How containers see the cgroups that they are in; their limits are in resources.test.ts.
const suite = criSuite();
const isUnified = cgroupLayout().mode === 'unified';
const onV2 = { skip: onGvisor || !isUnified };
const LIMIT = 64n << 20n;
const hostOptions = () => listMounts().find(({ type }) => type === 'cgroup2')?.superOptions;
/** Before there was any container. */
const OPTIONS = hostOptions();

/** Runs a container that sleeps, in a pod that lets it be privileged if it wants to. */
async function run(securityContext: DeepPartial<LinuxContainerSecurityContext>): Promise<string> {
  const { daemon, image } = suite;
  const { privileged = false, namespaceOptions = { pid: NamespaceMode.CONTAINER } } =
    securityContext;
  const pod = await runPod(daemon, {
    linux: { securityContext: { privileged, namespaceOptions } },
  });
  const linux = { securityContext, resources: { memoryLimitInBytes: LIMIT } };
  return runContainer(daemon, pod, containerConfig(image, { linux }));
}

test('a container sees its cgroup, read-only', gvisorDiffers, async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const place = isUnified ? '/sys/fs/cgroup' : '/sys/fs/cgroup/memory';
  const script = shell(`ls ${place} | wc -l; mkdir ${place}/x 2>&1`);
  const { lines } = await runToEnd(daemon, pod, image, script);
  expect(Number(lines[0])).toBeGreaterThan(0);
  expect(lines.at(-1)).toContain('Read-only file system');
});

test('a privileged container sees the cgroups of the host', onV2, async () => {
  const id = await run({ privileged: true });
  const path = await execIn(suite.daemon, id, 'sed s/0::// /proc/1/cgroup');
  const place = `/sys/fs/cgroup${path}`;
  expect(await execIn(suite.daemon, id, `cat ${place}/memory.max`)).toBe(String(LIMIT));
  await execIn(suite.daemon, id, `mkdir ${place}/x && rmdir ${place}/x`);
});

// Who mounts cgroup v2 anew in the host's cgroup namespace sets its options for all.
test('the host keeps the options of its cgroups', onV2, async () => {
  await run({ privileged: true });
  await run({ namespaceOptions: { pid: NamespaceMode.POD } });
  expect(hostOptions()).toEqual(OPTIONS);
});
