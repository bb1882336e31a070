/** What was found out about one thing that Keelson needs or could use. */
export interface Finding {
  /** `missing`: pods will not run. `note`: they will, with the limit that `detail` names. */
  readonly level: 'ok' | 'note' | 'missing';
  /** What it is about, such as `conmon`. */
  readonly subject: string;
  /** What there is: a version, a path, a mode. */
  readonly detail: string;
  /** What to do about it. */
  readonly remedy?: string;
}

export function ok(subject: string, detail: string): Finding {
  return { level: 'ok', subject, detail };
}

export function note(subject: string, detail: string, remedy: string): Finding {
  return { level: 'note', subject, detail, remedy };
}

export function missing(subject: string, detail: string, remedy: string): Finding {
  return { level: 'missing', subject, detail, remedy };
}
