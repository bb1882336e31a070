import { expect, test } from 'vitest';
import { KeptValues } from './kept-values.ts';

test('a value is given again, also to those who ask while it is taken', async () => {
  const values = new KeptValues<number>(60_000);
  let taken = 0;
  const take = async () => ++taken;
  expect(await Promise.all([values.get('a', take), values.get('a', take)])).toEqual([1, 1]);
  expect(await values.get('a', take)).toBe(1);
  expect(await values.get('b', take)).toBe(2);
});

test('a value that is over is taken anew, with the one before at hand', async () => {
  const values = new KeptValues<string>(0);
  const take = async (last: string | undefined) => `${last ?? 'none'}+`;
  await values.get('a', take);
  // Taking it took some microseconds, of which it rests some more.
  const end = Date.now() + 50;
  while (Date.now() < end);
  expect(await values.get('a', take)).toBe('none++');
  values.delete('a');
  expect(await values.get('a', take)).toBe('none+');
});
