/**
 * The usual case of a transition, written by hand where it takes at most two thirds of the time of the
 * compiled form. Its numbers come from the same constants as those of the transition; it is minified with
 * what is compiled.
 */
export interface FastPath {
  /** See `UpstashScript.fast`. */
  readonly lua: string;
  /** The order in which it expects the input's fields. */
  readonly fields?: readonly string[];
}
