/** A mailer that fails as a provider does, by a plan; and the links of a message that was sent. */
import { mailError } from "../mail/mail_error.ts";
import type { Mailer } from "../mail/mailer.ts";
import type { SentMail } from "../mail/memory_mailer.ts";
import { checkMethods } from "../validate.ts";
import { type Fault, faultChooser, type FaultPlan } from "./fault_plan.ts";

const TASK = "make a faulty mailer";

/**
 * A mailer around another one whose calls fail by a plan: for tests of `retrying`, `failover` and of your own
 * code.
 *
 * @throws {TypeError} when the mailer is none, or the plan neither an array nor a function
 * @category Testing
 * @example
 * ```ts
 * import { failover, memoryMailer } from "@holdfast/edge/mail";
 * import { faultyMailer } from "@holdfast/edge/testing";
 *
 * const second = memoryMailer();
 * const mailer = failover([faultyMailer(memoryMailer(), ["unauthorized"]), second]);
 * await mailer.send({ from: "shop@example.com", to: "ada@example.com", subject: "Hello", text: "Hello" });
 * if (second.outbox.length !== 1) throw new Error("unexpected");
 * ```
 */
export function faultyMailer(mailer: Mailer, plan: FaultPlan): Mailer {
  checkMethods(TASK, "it needs a mailer, such as memoryMailer()", mailer, ["send"]);
  const choose = faultChooser(TASK, plan);
  const { name, deduplicates, selectsRecipients = false } = mailer;
  return {
    name,
    deduplicates,
    selectsRecipients,
    async send(message, options) {
      const fault = choose("send");
      if (fault === undefined || fault === "lost-reply") {
        const receipt = await mailer.send(message, options);
        if (fault === undefined) return receipt;
      }
      throw errorOf(fault, mailer);
    },
  };
}

function errorOf(fault: Fault, { name, deduplicates }: Mailer): Error {
  switch (fault) {
    case "unauthorized":
      return mailError(name, "unauthorized", "the plan says that it is unauthorized");
    case "rate-limited":
      return mailError(name, "rate-limited", "the plan says that it is busy", {
        retryable: true,
        retryAfter: 1000,
      });
    case "lost-request":
    case "lost-reply":
      return mailError(name, "backend-unavailable", "the plan says that no reply came", {
        delivery: "unknown",
        phase: "reply",
        retryable: deduplicates,
      });
  }
}

/** A link in a text, or in an attribute of HTML. */
const LINK = /https?:\/\/[^\s"'<>]+/g;

/**
 * The links of a message that a `memoryMailer()` has sent, in the order in which they stand, each one once:
 * to follow the link of a login or a confirmation in a test.
 *
 * @category Testing
 * @example
 * ```ts
 * import { memoryMailer } from "@holdfast/edge/mail";
 * import { linksOf } from "@holdfast/edge/testing";
 *
 * const mailer = memoryMailer();
 * const text = "Confirm: https://shop.example/confirm?token=abc";
 * await mailer.send({ from: "shop@example.com", to: "ada@example.com", subject: "Welcome", text });
 * const [link] = linksOf(await mailer.waitFor({ recipient: "ada@example.com" }));
 * if (link !== "https://shop.example/confirm?token=abc") throw new Error("unexpected");
 * ```
 */
export function linksOf(mail: SentMail): readonly string[] {
  const { text = "", html = "" } = mail.message;
  // In HTML an ampersand is written as an entity. A full stop or a bracket at the end belongs to the
  // sentence.
  const found = [...(text + "\n" + html.replaceAll("&amp;", "&")).matchAll(LINK)];
  return [...new Set(found.map(([link]) => link.replace(/[.,;:!?)\]]+$/, "")))];
}
