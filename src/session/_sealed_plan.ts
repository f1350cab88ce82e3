/** The plan of a sealed session's commit: decides without I/O. */
import type { Fields } from "../store/transition.ts";
import { applied, isEmpty, type Patch } from "./_patch.ts";
import type { SessionChanges, SessionView } from "./_session_notes.ts";

/** The step to execute. */
export type SealedPlan =
  | {
    /** Nothing; or, with `conflict`, the changes are dropped as the session was rotated meanwhile. */
    readonly step: "nothing" | "conflict";
  }
  | {
    /**
     * The store notes that the session was seen. The cookie stays: a read that sets one could undo a logout.
     */
    readonly step: "touch";
  }
  | {
    /**
     * A cookie is sealed: the first one of a session (`begin`), one with other values (`update`), one with
     * another handle (`rotate`), or one of another family in the place of this one (`login`).
     */
    readonly step: "begin" | "update" | "rotate" | "login";
    /** The values it holds. */
    readonly values: Fields;
  };

/** The other facts that the plan depends on. */
export interface SealedFacts {
  /** Whether the use of the session must be recorded; never without a store. */
  readonly touchDue: boolean;
}

/** Plans the end of a request. `patch` is what it changed. */
export function planSealed(
  view: SessionView,
  changes: SessionChanges,
  patch: Patch,
  { touchDue }: SealedFacts,
): SealedPlan {
  const { create, login, rotate } = changes;
  const changed = !isEmpty(patch) || create || rotate;
  if (view.record !== undefined) {
    if (!changed) return { step: touchDue ? "touch" : "nothing" };
    const step = login !== undefined ? "login" : rotate ? "rotate" : "update";
    return { step, values: applied(view.values, patch) };
  }
  if (!changed) return { step: "nothing" };
  if (view.ended === "rotated" && login === undefined) return { step: "conflict" };
  const values = applied({}, patch);
  const empty = Object.keys(values).length === 0 && !create && login === undefined;
  return empty ? { step: "nothing" } : { step: "begin", values };
}
