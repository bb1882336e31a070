/** Runs two pieces of work; when one fails the other is aborted, and waited for. Fails with the first failure. */
export async function together<T>(
  signal: AbortSignal,
  first: (signal: AbortSignal) => Promise<unknown>,
  second: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  let failure: { error: unknown } | undefined;
  const guard = (work: Promise<unknown>) =>
    work.catch((error: unknown) => {
      failure ??= { error };
      stop.abort(error);
    });
  const result = second(both);
  await Promise.all([guard(first(both)), guard(result)]);
  signal.throwIfAborted();
  if (failure !== undefined) throw failure.error;
  return result;
}
