import { DEFAULT_RUNTIME } from '../harness/index.ts';

declare module 'vitest' {
  interface TaskMeta {
    /** What becomes on gVisor of what a test is about; docs/runtimes.md says why. */
    gvisor?: 'refused' | 'differs' | 'no effect';
  }
}

/** Whether the tests run with gVisor: a kernel of its own for each pod. */
export const onGvisor = DEFAULT_RUNTIME === 'runsc';

/**
 * Options of tests that do not hold on gVisor. They are skipped there, and docs/fields.md says
 * the word in their place.
 */
export const gvisorRefuses = { skip: onGvisor, meta: { gvisor: 'refused' } } as const;
export const gvisorDiffers = { skip: onGvisor, meta: { gvisor: 'differs' } } as const;
export const gvisorIgnores = { skip: onGvisor, meta: { gvisor: 'no effect' } } as const;
