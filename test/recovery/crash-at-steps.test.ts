import { beforeAll, beforeEach, expect, test } from 'vitest';
import { criSuite, execIn } from '../cri/suite.ts';
import { containerConfig, runContainer, runPod } from '../harness/index.ts';
import { faultPointsIn } from './fault-points.ts';
import { SCENARIOS, SPECIAL } from './scenarios.ts';
import { recordedIds, stockOf, tracesOf } from './traces.ts';

const suite = criSuite();
// What runtimes of test machines cannot do is crashed at in test/faults/checkpoints.test.ts.
const points = [...faultPointsIn('pods'), ...faultPointsIn('cni/engine')].filter(
  (point) => !point.startsWith('checkpoint/'),
);
const reachable = points.filter((point) => !(point in SPECIAL) || SPECIAL[point] !== undefined);
const operationOf = (point: string) => point.slice(0, point.indexOf('/'));

test('each operation on pods has a scenario', () => {
  const operations = new Set(points.map(operationOf));
  expect([...operations].sort()).toEqual(Object.keys(SCENARIOS).sort());
  expect(points.length).toBeGreaterThan(25);
});

/** What no crash may add to. */
async function lasting(): Promise<string[]> {
  // Pids differ; and other daemons on this host come and go.
  const foreign = /^\/(run\/netns|sys\/fs\/cgroup)\//;
  const all = (await stockOf(suite.daemon)).filter((line) => !foreign.test(line));
  return all.map((line) => line.replace(/^process \d+/, 'process')).sort();
}

beforeEach(async () => {
  if (!suite.daemon.running) await suite.daemon.start({ env: {} });
  await suite.daemon.removePods();
});

beforeAll(async () => {
  const { daemon, image } = suite;
  // What the first pod brings about stays.
  const pod = await runPod(daemon);
  await execIn(daemon, await runContainer(daemon, pod, containerConfig(image)), 'true');
  await daemon.removePods();
});

test.each(reachable)('a crash after "%s" is repaired by the next start', async (point) => {
  const { daemon, image } = suite;
  const before = await lasting();
  await daemon.kill9();
  await daemon.start({ env: { KEELSON_FAULT_POINT: point } });
  const scenario = SPECIAL[point] ?? SCENARIOS[operationOf(point)]!;
  const { call, after, kept = [] } = await scenario(daemon, image);
  const ids = new Set([...(await recordedIds(daemon)), ...kept]);
  const outcome = await call().then(
    () => 'it was never reached',
    () => 'killed',
  );
  expect(outcome).toBe('killed');
  expect(await daemon.exited()).toBe('SIGKILL');
  for (const id of await recordedIds(daemon)) ids.add(id);

  await daemon.start({ env: {} });
  const listed = new Set([
    ...(await daemon.runtime.listPodSandbox()).items.map(({ id }) => id),
    ...(await daemon.runtime.listContainers()).containers.map(({ id }) => id),
  ]);
  for (const id of kept) expect([...listed]).toContain(id);
  const gone = [...ids].filter((id) => !listed.has(id));
  expect(await tracesOf(daemon, gone)).toEqual([]);
  await after();
  for (const id of await recordedIds(daemon)) ids.add(id);
  await daemon.removePods();
  expect(await tracesOf(daemon, ids)).toEqual([]);
  expect(await lasting()).toEqual(before);
});
