import { MetricType } from '../../gen/runtime/v1/api.ts';

/** What one metric says of a subject, with the values of the labels that are its own. */
export interface Reading {
  value: number | bigint;
  labels?: readonly string[];
}

/** One of cAdvisor's metrics: what it is called, and how it is read from a subject. */
export interface Family<Subject> {
  name: string;
  help: string;
  type: MetricType;
  /** Label names beyond those that all metrics have. */
  labels: readonly string[];
  /** Nothing where it is not known. */
  read(subject: Subject): readonly Reading[];
}

/** What a family without labels of its own reads; undefined where it is not known. */
type Read<Subject> = (subject: Subject) => number | bigint | undefined;

export function counter<Subject>(name: string, help: string, read: Read<Subject>): Family<Subject> {
  return plain(name, help, MetricType.COUNTER, read);
}

export function gauge<Subject>(name: string, help: string, read: Read<Subject>): Family<Subject> {
  return plain(name, help, MetricType.GAUGE, read);
}

function plain<Subject>(
  name: string,
  help: string,
  type: MetricType,
  read: Read<Subject>,
): Family<Subject> {
  return {
    ...{ name, help, type, labels: [] },
    read: (subject) => {
      const value = read(subject);
      return value === undefined ? [] : [{ value }];
    },
  };
}

/** Metrics have whole seconds. */
export function seconds(nanoseconds: bigint | undefined): bigint | undefined {
  return nanoseconds === undefined ? undefined : nanoseconds / 1_000_000_000n;
}
