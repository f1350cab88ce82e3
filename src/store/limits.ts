/** The bounds of an engine: part of the contract of stores, and of what an engine author writes. */

/**
 * The sizes that an engine accepts.
 *
 * @category Engines
 */
export interface EngineLimits {
  /** The longest key in UTF-8 bytes, namespaces included. */
  readonly maxKeyBytes: number;
  /** The longest encoded value or record in UTF-16 code units. */
  readonly maxValueLength: number;
}
