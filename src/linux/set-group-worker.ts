import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '../base/index.ts';
import { type SetGroupRequest, setGroup } from './set-group.ts';

// Where a worker begins that gives one tree to a group.
try {
  setGroup(workerData as SetGroupRequest);
  parentPort?.postMessage(undefined);
} catch (error) {
  parentPort?.postMessage(messageOf(error));
}
