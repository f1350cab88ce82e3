/**
 * Notes that helpers around one request leave for each other, in any order: whether its answer is one
 * person's, and which caches are being filled with it. Noted by the objects that they share: Hono's context,
 * the request.
 */

import { RequestValues } from "./request_values.ts";

/** Ways to ask whether the answer is one person's. */
const personal = /* @__PURE__ */ new RequestValues<readonly (() => boolean)[]>();
/** The caches that are filled with the answer, each with its options. */
const filling = /* @__PURE__ */ new RequestValues<Map<object, object>>();

/**
 * Notes a way to ask whether the answer depends on who asked: a session that was read or changed. It is asked
 * late, as a handler may read its session while its body is on the way.
 */
export function notePersonal(owners: readonly object[], asked: () => boolean): void {
  for (const owner of owners) personal.set(owner, [...personal.get(owner) ?? [], asked]);
}

/** Whether the answer to the request is one person's, as far as it was made by now. */
export function isPersonal(...owners: readonly object[]): boolean {
  return owners.some((owner) => personal.get(owner)?.some((asked) => asked()));
}

/** Notes that a cache is filled with the answer to the request, and with which options. */
export function noteFilling(owners: readonly object[], cache: object, options: object): void {
  for (const owner of owners) {
    const known = filling.get(owner) ?? new Map<object, object>();
    filling.set(owner, known.set(cache, options));
  }
}

/**
 * The options with which that cache is filled with the answer to the request; `undefined` where it is not.
 */
export function fillingOptions(owners: readonly object[], cache: object): object | undefined {
  for (const owner of owners) {
    const options = filling.get(owner)?.get(cache);
    if (options !== undefined) return options;
  }
  return undefined;
}
