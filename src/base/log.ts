import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

type LogMethod = 'debug' | 'info' | 'warn' | 'error';

/** From the most to the least that is said. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

/** Structured logging: the ids and values that a line concerns, then the line. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** A logger that puts `fields` on each line. */
  child(fields: Record<string, unknown>): Logger;
}

/** The root logger, whose level may change while running. Children follow. */
export interface RootLogger extends Logger {
  level: LogLevel;
}

/** Writes JSON lines to stderr, readable ones when stderr is a terminal. */
export function createLogger(level: LogLevel): RootLogger {
  // Not imported: CNI plugins run as programs load this folder too, at each call, and log nothing.
  const { pino } = require('pino') as typeof import('pino');
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { error: describeError },
  };
  const root = process.stderr.isTTY
    ? pino({ ...options, transport: { target: 'pino-pretty', options: { destination: 2 } } })
    : pino(options, pino.destination({ dest: 2, sync: true }));
  const wrap = (logger: Pick<typeof root, LogMethod | 'child'>): RootLogger => ({
    get level() {
      return root.level as LogLevel;
    },
    set level(value) {
      root.level = value;
    },
    debug: (fields, message) => root.isLevelEnabled('debug') && logger.debug(fields, message),
    info: (fields, message) => root.isLevelEnabled('info') && logger.info(fields, message),
    warn: (fields, message) => root.isLevelEnabled('warn') && logger.warn(fields, message),
    error: (fields, message) => root.isLevelEnabled('error') && logger.error(fields, message),
    // Level "trace" in the child: the root's level alone decides.
    child: (fields) => wrap(logger.child(fields, { level: 'trace' })),
  });
  return wrap(root);
}

/** A logger that says nothing. */
export const SILENT: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => SILENT,
};

function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  return 'code' in error && error.name === 'KeelsonError'
    ? { code: error.code, message: error.message }
    : { message: error.message, stack: error.stack };
}
