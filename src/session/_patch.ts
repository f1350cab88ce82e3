/** Changes to the values of a session, as a request collects them. */
import { decodeValue } from "../codec.ts";
import type { Fields } from "../store/transition.ts";

/** Values to set and to unset, by their stored names. */
export interface Patch {
  /** `d:*` and `f:*` with their encoded values. */
  readonly set: Fields;
  /** `d:*` and `f:*`. */
  readonly unset: readonly string[];
}

/** Whether it changes nothing. */
export function isEmpty({ set, unset }: Patch): boolean {
  return unset.length === 0 && Object.keys(set).length === 0;
}

/** Whether something is lost without it; that a flash value was taken is nothing. */
export function matters({ set, unset }: Patch): boolean {
  return Object.keys(set).length > 0 || unset.some((field) => field.startsWith("d:"));
}

/** The values with the patch. */
export function applied(values: Fields, { set, unset }: Patch): Fields {
  const next: Record<string, string> = { ...values, ...set };
  for (const field of unset) delete next[field];
  return next;
}

/** First one patch, then the other. */
export function combined(first: Patch, second: Patch): Patch {
  return {
    set: applied(first.set, second),
    unset: [...first.unset.filter((field) => !(field in second.set)), ...second.unset],
  };
}

/** The patch that turns `before` into `after`. */
export function difference(before: Fields, after: Fields): Patch {
  return {
    set: Object.fromEntries(Object.entries(after).filter(([field, text]) => before[field] !== text)),
    unset: Object.keys(before).filter((field) => !(field in after)),
  };
}

/** The patch without what another one touches. */
export function without({ set, unset }: Patch, other: Patch): Patch {
  const free = (field: string) => !(field in other.set) && !other.unset.includes(field);
  return {
    set: Object.fromEntries(Object.entries(set).filter(([field]) => free(field))),
    unset: unset.filter(free),
  };
}

/** The data among the values, decoded; without a prototype, so that no name means anything special. */
export function dataOf(values: Fields): Record<string, unknown> {
  const data: Record<string, unknown> = Object.create(null);
  for (const field in values) if (field.startsWith("d:")) data[field.slice(2)] = decodeValue(values[field]!);
  return data;
}
