import { KeelsonError, LOG_LEVELS, type RootLogger } from '../base/index.ts';
import { answerJson } from './answers.ts';
import type { Exchange } from './exchange.ts';

/** Bytes: no level is longer. */
const LONGEST = 64;

export async function answerLogLevel(logger: RootLogger, { response }: Exchange): Promise<void> {
  answerJson(response, { level: logger.level });
}

/** Makes the daemon log from the level in the body on, until it ends or is told otherwise. */
export async function setLogLevel(
  logger: RootLogger,
  { request, response }: Exchange,
): Promise<void> {
  const text = (await readShort(request.iterator({ destroyOnReturn: false }))).trim();
  const level = LOG_LEVELS.find((known) => known === text);
  if (level === undefined) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot set log level "${text}"`, {
      reason: `it is none of ${LOG_LEVELS.join(', ')}`,
    });
  }
  const before = logger.level;
  logger.level = level;
  if (level !== before) logger.info({ level, before }, 'log level changed');
  answerJson(response, { level });
}

async function readShort(body: AsyncIterable<Buffer>): Promise<string> {
  let text = '';
  for await (const piece of body) {
    text += piece.toString('utf8');
    if (text.length > LONGEST) break;
  }
  return text.slice(0, LONGEST);
}
