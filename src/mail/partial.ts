/**
 * Receipts of messages that only some recipients got. What was refused for now is sent again to those
 * recipients alone, and the receipts of all attempts become one.
 */
import { need } from "./address.ts";
import type { MailError } from "./mail_error.ts";
import type { Receipt, Rejection } from "./mailer.ts";
import { type PreparedMessage, recipientsOf } from "./message.ts";

/** The recipients that were refused for now and may be sent to again. */
export function deferredOf(receipt: Receipt): readonly string[] {
  return (receipt.deferred ?? []).map(({ address }) => address);
}

/**
 * One receipt for two attempts: the first, and a later one that was sent to the recipients the first one had
 * deferred. The id is that of the first attempt.
 */
export function mergeReceipts(first: Receipt, later: Receipt): Receipt {
  const asked = deferredOf(first);
  const missed = new Set([
    ...[...later.rejected ?? [], ...later.deferred ?? []].map(({ address }) => address),
    ...later.unknown ?? [],
  ]);
  const reached = asked.filter((address) => !missed.has(address));
  return partialReceipt(first, {
    accepted: first.accepted && [...first.accepted, ...reached],
    rejected: [...first.rejected ?? [], ...later.rejected ?? []],
    deferred: later.deferred ?? [],
    unknown: [...first.unknown ?? [], ...later.unknown ?? []],
  });
}

/** The receipt after a later attempt failed: its error says what the recipients it was for are now. */
export function mergeFailure(first: Receipt, error: MailError): Receipt {
  const left = deferredOf(first);
  const refused: Rejection[] = left.map((address) => ({ address, status: error.status }));
  const none: Receipt = { mailer: first.mailer, id: undefined };
  if (error.delivery === "unknown") return mergeReceipts(first, { ...none, unknown: left });
  // What may be repeated stays deferred; a refusal for good, or a mailer that cannot select recipients, does
  // not.
  const final = error.code === "message-rejected" && !error.retryable;
  return mergeReceipts(first, final ? { ...none, rejected: refused } : { ...none, deferred: refused });
}

/** A receipt with its lists; an empty list is left out. */
export function partialReceipt<T extends Receipt>(
  receipt: T,
  lists: Pick<Receipt, "accepted" | "rejected" | "deferred" | "unknown">,
): Omit<T, "accepted" | "rejected" | "deferred" | "unknown"> & typeof lists {
  const { accepted: _a, rejected: _r, deferred: _d, unknown: _u, ...rest } = receipt;
  const some = Object.entries(lists).filter(([, list]) => list !== undefined && list.length > 0);
  return { ...rest, ...Object.fromEntries(some) };
}

/**
 * The recipients an attempt is for: all of the message's, or those of them that were asked for.
 *
 * @throws {TypeError} when one that was asked for is none of the message's
 */
export function selectRecipients(
  message: PreparedMessage,
  wanted: readonly string[] | undefined,
): readonly string[] {
  const all = recipientsOf(message).map(({ address }) => address);
  if (wanted === undefined) return all;
  const known = new Set(all);
  need(
    wanted.every((address) => known.has(address)),
    "recipients",
    "must be recipients of the message, in its spelling",
  );
  return wanted;
}
