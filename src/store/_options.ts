/** The names of the options of every call of a store, and the check that each call begins with. */
import { checkOptionNames, type OptionNames } from "../validate.ts";
import type { IncrementOptions, WatchOptions } from "./atomic_store.ts";
import { checkSchema } from "../check_schema.ts";
import type {
  CallOptions,
  ClearOptions,
  GetOptions,
  ListOptions,
  ListPageOptions,
  SetOptions,
} from "./key_value_store.ts";

export const CALL_OPTIONS = { signal: true } satisfies OptionNames<CallOptions>;
export const GET_OPTIONS = { signal: true, schema: true } satisfies OptionNames<GetOptions<unknown>>;
export const SET_OPTIONS = { signal: true, ttl: true } satisfies OptionNames<SetOptions>;
export const INCREMENT_OPTIONS = { signal: true, ttl: true, by: true } satisfies OptionNames<
  IncrementOptions
>;
export const LIST_OPTIONS = { signal: true, prefix: true } satisfies OptionNames<ListOptions>;
export const PAGE_OPTIONS = {
  signal: true,
  prefix: true,
  cursor: true,
  limit: true,
} satisfies OptionNames<ListPageOptions>;
export const WATCH_OPTIONS = { signal: true, timeout: true, since: true, field: true } satisfies OptionNames<
  WatchOptions
>;
export const CLEAR_OPTIONS = { signal: true, limit: true } satisfies OptionNames<ClearOptions>;

/** Refuses options that the call does not know, and ends a call whose signal is aborted before it begins. */
export function checkCall(
  task: string,
  options: CallOptions | undefined,
  known: Readonly<Record<string, true>>,
): void {
  if (options === undefined) return;
  checkOptionNames(task, options, known);
  if (known.schema && (options as GetOptions<unknown>).schema !== undefined) {
    checkSchema(task, (options as GetOptions<unknown>).schema);
  }
  options.signal?.throwIfAborted();
}
