import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  answerGarbage,
  answerTwice,
  crashAfter,
  crashBefore,
  type Fault,
  failWith,
  hang,
  workLate,
  workThenFail,
  workThenHang,
} from '../harness/csi/index.ts';
import { claim } from './host-fixture.ts';
import { waitFor } from './patience.ts';
import { driver, host, nothingLeft, useScriptedHost } from './scripted-host.ts';

useScriptedHost();

/** The driver comes back by itself, as one that a supervisor starts again. */
const thenBack =
  (fault: Fault): Fault =>
  async (call) => {
    await fault(call);
    setTimeout(() => void driver.listen(), 20);
  };

const FAULTS: [name: string, fault: Fault][] = [
  ['hangs', hang],
  ['does it and hangs', workThenHang],
  ['does it when nobody waits any more', workLate],
  ['is killed before', thenBack(crashBefore)],
  ['is killed after', thenBack(crashAfter)],
  ['answers twice', answerTwice],
  ['answers garbage', answerGarbage],
  ['is busy', failWith('ABORTED', 'an operation is pending')],
  ['does it and says DEADLINE_EXCEEDED', workThenFail('DEADLINE_EXCEEDED', 'late')],
  ['says INTERNAL', failWith('INTERNAL', 'a disk is on fire')],
];

const CALLS = [
  ...['CreateVolume', 'ControllerPublishVolume', 'NodeStageVolume', 'NodePublishVolume'],
  ...['NodeUnpublishVolume', 'NodeUnstageVolume', 'ControllerUnpublishVolume', 'DeleteVolume'],
];

describe.each(FAULTS)('a driver that %s', (_, fault) => {
  // Hanging calls are what these tests wait for; one that is given up too early is repeated.
  beforeEach(async () => {
    await host.close();
    await host.open({ callTimeout: 80 });
  });

  test('at each call once: the volume is made, used and gone all the same', async () => {
    for (const rpc of CALLS) driver.script(rpc, fault);
    await host.apply(claim('data', 'scripted'));
    await host.bound('data');
    const published = async () => {
      const { spec } = await host.publish('data');
      return stat(join(spec.targetPath, '.'));
    };
    // A pod's volume is asked for again, as a kubelet does.
    await waitFor('the publication', () =>
      published().then(
        () => true,
        () => false,
      ),
    );
    await host.release();
    await host.remove('PersistentVolumeClaim', 'data');
    await nothingLeft();
  });

  test('when the claim goes meanwhile: no volume is left', async () => {
    driver.script('CreateVolume', fault, 2);
    await host.apply(claim('data', 'scripted'));
    await driver.called('CreateVolume');
    await host.remove('PersistentVolumeClaim', 'data');
    await nothingLeft();
  });
});

test('a driver that does not know the volume any more: what is mounted decides', async () => {
  driver.script('NodeUnpublishVolume', failWith('NOT_FOUND', 'what volume?'));
  for (const rpc of ['NodeUnpublishVolume', 'NodeUnstageVolume']) {
    driver.script(rpc, workThenFail('NOT_FOUND', 'what volume?'), Infinity);
  }
  await host.apply(claim('data', 'scripted'));
  await host.publish('data');
  await host.release();
  expect(driver.count('NodeUnpublishVolume')).toBe(2);
  await host.remove('PersistentVolumeClaim', 'data');
  await nothingLeft();
});
