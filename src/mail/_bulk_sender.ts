import type { BulkSender, Mailer } from "./mailer.ts";

/** A mailer's own way to send many, or else one by one with `send`. */
export function openBulk(mailer: Mailer): BulkSender {
  return mailer.openBulk?.() ?? {
    size: 1,
    send: ([message], [idempotencyKey], options) => [mailer.send(message!, { ...options, idempotencyKey })],
  };
}
