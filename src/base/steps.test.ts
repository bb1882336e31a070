import { expect, test } from 'vitest';
import { type Logger, SILENT } from './log.ts';
import { onSpan } from './spans.ts';
import { Steps } from './steps.ts';

/** A logger that keeps its errors. */
function recorder(): { logger: Logger; errors: string[] } {
  const errors: string[] = [];
  const logger = { ...SILENT, error: (_: object, message: string) => void errors.push(message) };
  return { logger, errors };
}

test('steps answer what their work answers', async () => {
  await using steps = new Steps('test', SILENT);
  expect(await steps.run('one', () => 1)).toBe(1);
  expect(await steps.run('two', async () => 2)).toBe(2);
});

test('what is not committed is undone, last first', async () => {
  const events: string[] = [];
  {
    await using steps = new Steps('test', SILENT);
    for (const name of ['a', 'b', 'c']) {
      await steps.run(
        name,
        () => events.push(name),
        () => void events.push(`undo ${name}`),
      );
    }
  }
  expect(events).toEqual(['a', 'b', 'c', 'undo c', 'undo b', 'undo a']);
});

test('a step that fails half way is undone too', async () => {
  const undone: string[] = [];
  const operation = async () => {
    await using steps = new Steps('test', SILENT);
    await steps.run(
      'first',
      () => {},
      () => void undone.push('first'),
    );
    await steps.run(
      'second',
      () => Promise.reject(new Error('no')),
      () => void undone.push('second'),
    );
    steps.commit();
  };
  await expect(operation()).rejects.toThrow('no');
  expect(undone).toEqual(['second', 'first']);
});

test('what is committed stays', async () => {
  const undone: string[] = [];
  {
    await using steps = new Steps('test', SILENT);
    await steps.run(
      'a',
      () => {},
      () => void undone.push('a'),
    );
    steps.commit();
  }
  expect(undone).toEqual([]);
});

test('undoing goes on past a step that cannot be undone, and says so', async () => {
  const { logger, errors } = recorder();
  const undone: string[] = [];
  const operation = async () => {
    await using steps = new Steps('run-pod', logger);
    await steps.run(
      'a',
      () => {},
      () => void undone.push('a'),
    );
    await steps.run(
      'b',
      () => {},
      () => Promise.reject(new Error('busy')),
    );
    await steps.run(
      'c',
      () => {},
      () => {
        throw new Error('odd');
      },
    );
    throw new Error('the first failure');
  };
  await expect(operation()).rejects.toThrow('the first failure');
  expect(undone).toEqual(['a']);
  expect(errors).toEqual([
    'cannot undo "c" of run-pod: odd; going on',
    'cannot undo "b" of run-pod: busy; going on',
  ]);
});

test('undo has a signal of its own', async () => {
  let aborted: boolean | undefined;
  {
    await using steps = new Steps('test', SILENT);
    await steps.run(
      'a',
      () => {},
      (signal) => {
        aborted = signal.aborted;
      },
    );
  }
  expect(aborted).toBe(false);
});

test('each step and each undo is a span', async () => {
  const names: string[] = [];
  using _listener = onSpan((span) => names.push(span.name));
  {
    await using steps = new Steps('test', SILENT);
    await steps.run(
      'mount',
      () => {},
      () => {},
    );
  }
  expect(names).toEqual(['mount', 'undo mount']);
});
