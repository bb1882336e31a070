import { expect, test } from 'vitest';
import { SharedSlots } from './shared-slots.ts';

function publish(slots: SharedSlots, text: string): void {
  const slot = slots.takeFree() ?? Number.NaN;
  slots.publish(slot, slots.memory(slot).write(text));
}

function take(slots: SharedSlots): { slot: number; text: string } | undefined {
  const slot = slots.takeReady();
  if (slot === undefined) return undefined;
  return { slot, text: slots.memory(slot).toString('utf8', 0, slots.lengthOf(slot)) };
}

test('each piece of work is taken once, by whoever shares the memory', () => {
  const slots = new SharedSlots();
  const others = new SharedSlots(slots.buffer);
  publish(slots, 'one');
  publish(slots, 'two');
  const taken = [take(others), take(slots)];
  expect(taken.map((piece) => piece?.text)).toEqual(['one', 'two']);
  expect([take(others), slots.isDone]).toEqual([undefined, false]);
  for (const piece of taken) others.free(piece?.slot ?? Number.NaN);
  expect(slots.isDone).toBe(true);
});

test('there is no more room than there are slots', () => {
  const slots = new SharedSlots();
  while (slots.takeFree() !== undefined);
  expect(slots.takeReady()).toBeUndefined();
  slots.free(2);
  expect([slots.takeFree(), slots.takeFree()]).toEqual([2, undefined]);
});

test('the first failure is the one that is told, with its code, however long', () => {
  const slots = new SharedSlots();
  slots.check();
  slots.fail({ code: 'RESOURCE_EXHAUSTED', message: `the disk is full ${'\u0001'.repeat(9000)}` });
  slots.fail({ code: 'INTERNAL', message: 'something else' });
  expect(() => new SharedSlots(slots.buffer).check()).toThrow(
    expect.objectContaining({
      code: 'RESOURCE_EXHAUSTED',
      message: expect.stringMatching(/^the disk is full/),
    }),
  );
});

test('what a thread had taken that is gone fails, and keeps nobody waiting', () => {
  const slots = new SharedSlots();
  publish(slots, 'lost');
  take(slots);
  const { changes } = slots;
  slots.lose({ code: 'INTERNAL', message: 'the worker ended' });
  slots.waitBeyond(changes);
  expect(slots.isDone).toBe(true);
  expect(() => slots.check()).toThrow('the worker ended');
});
