import { MailError, type MailErrorOptions } from "../mail/mail_error.ts";
import type { Mailer, Receipt, SendOptions } from "../mail/mailer.ts";
import { type Message, type PreparedMessage, prepareMessage } from "../mail/message.ts";
import type { HoldfastErrorCode } from "../errors.ts";
import type { AtomicStore } from "../store/atomic_store.ts";

/** How one attempt goes; it goes well without. */
export type Act = "lost-reply" | "busy" | "refused" | "hang";

/** A provider that does as it is told and remembers what it took: the other side of the laws of mailers around mailers. */
export class ScriptedMailer implements Mailer {
  readonly name = "scripted";
  readonly deduplicates: boolean;
  /** What was taken, once per key if it deduplicates. */
  readonly accepted: { readonly message: PreparedMessage; readonly key: string | undefined }[] = [];
  /** How often it was asked. */
  attempts = 0;
  /** How the next attempts go, in order. */
  readonly script: (Act | undefined)[] = [];
  readonly #known = new Map<string, Receipt>();

  constructor(deduplicates: boolean) {
    this.deduplicates = deduplicates;
  }

  async send(message: Message, { idempotencyKey: key }: SendOptions = {}): Promise<Receipt> {
    const prepared = prepareMessage(message);
    this.attempts++;
    const act = this.script.shift();
    await Promise.resolve();
    if (act === "busy") throw this.#error("rate-limited", { retryable: true });
    if (act === "refused") throw this.#error("message-rejected", {});
    let receipt = key === undefined ? undefined : this.#known.get(key);
    if (receipt === undefined || !this.deduplicates) {
      this.accepted.push({ message: prepared, key });
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

  /** The subjects of what was taken, in order. */
  subjects(): string[] {
    return this.accepted.map(({ message }) => message.subject);
  }

  #error(code: HoldfastErrorCode, options: Partial<MailErrorOptions>): MailError {
    return new MailError(code, "Cannot send by scripted as it was told not to", {
      delivery: "not-sent",
      phase: "reply",
      mailer: this.name,
      ...options,
    });
  }
}

/** A store that can be cut off: from then on nothing it is asked is ever answered, as for a process that was killed. */
export function mortal(store: AtomicStore): { readonly store: AtomicStore; kill(): void } {
  let dead = false;
  const wrap = (inner: AtomicStore): AtomicStore =>
    new Proxy(inner, {
      get(target, name) {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        if (name === "namespace") return (room: string) => wrap(target.namespace(room));
        return (...args: unknown[]) => dead ? new Promise(() => {}) : value.apply(target, args);
      },
    });
  return { store: wrap(store), kill: () => void (dead = true) };
}
