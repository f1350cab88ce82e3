import { type ProblemOptions, problemResponse } from "../response.ts";
import { checkNames, type OptionNames } from "../validate.ts";

export type { ProblemOptions };

const OPTIONS = { type: true, detail: true, extensions: true, retryAfter: true } satisfies OptionNames<
  ProblemOptions
>;

/**
 * A response that says what is wrong, for machines and people.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9457
 * @category HTTP
 * @example
 * ```ts
 * import { problem } from "@holdfast/edge/http";
 * const response = problem(409, "Another request has the lock", { retryAfter: 1500 });
 * if (response.headers.get("retry-after") !== "2") throw new Error("unexpected");
 * ```
 */
export function problem(status: number, title: string, options: ProblemOptions = {}): Response {
  checkNames("make a problem response", options, OPTIONS);
  return problemResponse(status, title, options);
}
