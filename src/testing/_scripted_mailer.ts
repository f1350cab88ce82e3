import { MailError, type MailErrorOptions } from "../mail/mail_error.ts";
import type { Mailer, Receipt, SendOptions } from "../mail/mailer.ts";
import { type Message, type PreparedMessage, prepareMessage } from "../mail/message.ts";
import { selectRecipients } from "../mail/partial.ts";
import type { HoldfastErrorCode } from "../errors.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { Transition } from "../store/transition.ts";

/**
 * The outcome of one attempt; `defer:` and an address refuses that recipient for now. Without it the attempt
 * succeeds.
 */
export type Act = "lost-reply" | "busy" | "refused" | "unauthorized" | "hang" | `defer:${string}`;

/** A message that was taken. */
export interface AcceptedByScript {
  readonly message: PreparedMessage;
  readonly key: string | undefined;
  /** The recipients that got it. */
  readonly recipients: readonly string[];
}

/**
 * A provider that follows a script and keeps what it took: the other side of the laws of mailers around
 * mailers.
 */
export class ScriptedMailer implements Mailer {
  readonly name = "scripted";
  readonly deduplicates: boolean;
  readonly selectsRecipients = true;
  /** The messages that were taken, once per key if it deduplicates. */
  readonly accepted: AcceptedByScript[] = [];
  /** The number of attempts. */
  attempts = 0;
  /** The outcomes of the next attempts, in order. */
  readonly script: (Act | undefined)[] = [];
  readonly #known = new Map<string, Receipt>();

  constructor(deduplicates: boolean) {
    this.deduplicates = deduplicates;
  }

  async send(message: Message, options: SendOptions = {}): Promise<Receipt> {
    const { idempotencyKey: key } = options;
    const prepared = prepareMessage(message);
    const recipients = selectRecipients(prepared, options.recipients);
    this.attempts++;
    const act = this.script.shift();
    await Promise.resolve();
    if (act === "busy") throw this.#error("rate-limited", { retryable: true });
    if (act === "refused") throw this.#error("message-rejected", {});
    if (act === "unauthorized") throw this.#error("unauthorized", {});
    if (act?.startsWith("defer:")) return this.#defer(prepared, key, recipients, act.slice("defer:".length));
    let receipt = key === undefined ? undefined : this.#known.get(key);
    if (receipt === undefined || !this.deduplicates) {
      this.accepted.push({ message: prepared, key, recipients });
      receipt = { mailer: this.name, id: `taken-${this.accepted.length}` };
      if (key !== undefined) this.#known.set(key, receipt);
    }
    if (act === "hang") return await new Promise<never>(() => {});
    if (act === "lost-reply") {
      throw this.#error("backend-unavailable", {
        delivery: "unknown",
        phase: "reply",
        retryable: this.deduplicates,
      });
    }
    return receipt;
  }

  #defer(
    message: PreparedMessage,
    key: string | undefined,
    recipients: readonly string[],
    address: string,
  ): Receipt {
    const accepted = recipients.filter((recipient) => recipient !== address);
    if (accepted.length === 0) throw this.#error("message-rejected", { retryable: true, status: 451 });
    this.accepted.push({ message, key, recipients: accepted });
    const deferred = recipients.includes(address) ? [{ address, status: 451 }] : [];
    return { mailer: this.name, id: `taken-${this.accepted.length}`, accepted, deferred };
  }

  /** The subjects of the messages that were taken, in order. */
  subjects(): string[] {
    return this.accepted.map(({ message }) => message.subject);
  }

  #error(code: HoldfastErrorCode, options: Partial<MailErrorOptions>): MailError {
    return new MailError(code, "Cannot send by scripted as its script says so", {
      delivery: "not-sent",
      phase: "reply",
      mailer: this.name,
      ...options,
    });
  }
}

/**
 * A store that can be cut off: from then on no call is ever answered, as for a process that was killed. With
 * `at`, it is cut off when that transition is asked for, which is not run.
 */
export function mortal(
  store: AtomicStore,
  at?: Transition,
): { readonly store: AtomicStore; kill(): void; dead(): boolean } {
  let dead = false;
  const wrap = (inner: AtomicStore): AtomicStore =>
    new Proxy(inner, {
      get(target, name) {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        if (name === "namespace") return (name: string) => wrap(target.namespace(name));
        return (...args: unknown[]) => {
          dead ||= at !== undefined && args[0] === at;
          return dead ? new Promise(() => {}) : value.apply(target, args);
        };
      },
    });
  return { store: wrap(store), kill: () => void (dead = true), dead: () => dead };
}
