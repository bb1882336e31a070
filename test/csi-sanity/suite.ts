import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import { controllerSuite } from './controller-suite.ts';
import { expansionSuite } from './expansion-suite.ts';
import { identitySuite } from './identity-suite.ts';
import { nodeSuite } from './node-suite.ts';
import { snapshotSuite } from './snapshot-suite.ts';
import { type SanityOptions, Subject } from './subject.ts';
import { validationSuite } from './validation-suite.ts';

/** The driver under test, once it runs. */
export type Get = () => Subject;

const ALL = [
  ...[identitySuite, validationSuite, controllerSuite, snapshotSuite, expansionSuite, nodeSuite],
];

/** What a volume's content makes a difference to. */
export const CONTENT_SUITES = [expansionSuite, nodeSuite];

/**
 * What the CSI specification asks of every driver, clause by clause. Tests of what a driver
 * does not offer are skipped.
 */
export function csiSanity(name: string, options: SanityOptions, suites = ALL): void {
  describe(name, () => {
    let subject: Subject | undefined;
    const get: Get = () => {
      if (subject === undefined) throw new Error('the driver did not start');
      return subject;
    };
    beforeAll(async () => {
      subject = await Subject.start(options);
    });
    afterEach(() => subject?.cleanUp());
    afterAll(() => subject?.[Symbol.asyncDispose]());
    for (const suite of suites) suite(get);
  });
}
