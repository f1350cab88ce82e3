/** A list of addresses that get no more mail, in front of a mailer. */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { isOutage } from "../fault_class.ts";
import { safely } from "../safely.ts";
import type { CallOptions, KeyValueStore } from "../store/key_value_store.ts";
import { checkFunction, checkMethods, checkOneOf, checkOptionNames, type OptionNames } from "../validate.ts";
import { noteWrapper, openBulk, sendBy } from "./_inner_mailer.ts";
import { checkMailer, prepareCall } from "./_combinator.ts";
import { type Address, parseAddress } from "./address.ts";
import type { FeedbackKind, MailFeedback } from "./feedback.ts";
import { MailError, mailError } from "./mail_error.ts";
import type { BatchOptions, BulkSender, Mailer, Receipt, Rejection, SendOptions } from "./mailer.ts";
import { type Message, type PreparedMessage, prepareMessage, recipientsOf } from "./message.ts";

/**
 * The kinds of reports that can suppress an address.
 *
 * @category Mail
 */
export type SuppressingKind = Exclude<FeedbackKind, "soft-bounce">;

/**
 * Options of {@linkcode suppressing}.
 *
 * @category Mail
 */
export interface SuppressingOptions {
  /**
   * The namespace of the list.
   * @default {"suppressions"}
   */
  readonly name?: string | undefined;
  /**
   * The kinds that keep this mailer from sending. Mail that a recipient must get, such as a receipt, may
   * leave out `unsubscribe`.
   * @default {["bounce", "complaint", "unsubscribe"]}
   */
  readonly kinds?: readonly SuppressingKind[] | undefined;
  /**
   * The time after which an address is tried again, by kind.
   * @default {{}} (never)
   */
  readonly ttl?: Partial<Readonly<Record<SuppressingKind, Duration | undefined>>> | undefined;
  /**
   * Whether a server's refusal of a recipient means that its address is no good.
   * @default {those with the enhanced codes 5.1.1, 5.1.2, 5.1.3, 5.1.6, 5.1.10 and 5.2.1}
   */
  readonly isPermanent?: ((rejection: Rejection) => boolean) | undefined;
  /**
   * The choice while the list cannot be read: `throw` sends nothing, with a retryable error; `allow` sends to
   * everyone.
   * @default {"throw"}
   */
  readonly whenUnavailable?: "throw" | "allow" | undefined;
  /** Called with every fault of the store. What it throws is dropped. */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * The clock that dates the entries.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * An address that gets no more mail.
 *
 * @category Mail
 */
export interface Suppression {
  /** The address, in lower case. */
  readonly address: string;
  /** The kind of the report that suppressed it. */
  readonly kind: SuppressingKind;
  /** The provider's or server's own words. */
  readonly reason: string;
  /** The time of the report, in milliseconds since the epoch. */
  readonly at: number;
}

/**
 * A mailer that leaves out suppressed recipients.
 *
 * @category Mail
 */
export interface SuppressingMailer extends Mailer {
  /**
   * Notes reports; soft bounces change nothing.
   *
   * @throws {TypeError} when an address is none
   */
  suppress(feedback: MailFeedback | readonly MailFeedback[], options?: CallOptions): Promise<void>;
  /**
   * The suppression of an address, for the first of bounce, complaint and unsubscription that there is;
   * `undefined` when it is not on the list.
   */
  find(address: string, options?: CallOptions): Promise<Suppression | undefined>;
  /** Takes an address from the list; whether it was on it. */
  allow(address: string, options?: CallOptions): Promise<boolean>;
  /** The addresses of the list, in lower case, and what each is on it for; in no order. */
  list(options?: CallOptions): AsyncIterable<Pick<Suppression, "address" | "kind">>;
}

const TASK = "make a suppressing mailer";
const OPTIONS = {
  name: true,
  kinds: true,
  ttl: true,
  isPermanent: true,
  whenUnavailable: true,
  onFault: true,
  clock: true,
} satisfies OptionNames<SuppressingOptions>;
const KINDS: readonly SuppressingKind[] = ["bounce", "complaint", "unsubscribe"];
const FEEDBACK = { address: true, kind: true, reason: true } satisfies OptionNames<MailFeedback>;
const CALL = { signal: true } satisfies OptionNames<CallOptions>;

/**
 * A mailer that sends nothing to addresses of a list. The list is filled by what providers report of bounces
 * and complaints (`resendFeedback` and its like read their webhooks), by unsubscriptions, and by recipients
 * that a mail server refuses for good.
 *
 * A suppressed recipient is a result and no error: the receipt lists it under `suppressed`. When all are, the
 * message is not sent and the receipt has no id. Put it inside {@linkcode outbox}, so that the list is read
 * when a message is sent and not when it is queued. {@linkcode sendBulk} keeps batches.
 *
 * @throws {TypeError} when the store is none, or an option is not valid
 * @category Mail
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { memoryMailer, suppressing } from "@holdfast/edge/mail";
 * const mailer = suppressing(memoryMailer(), memoryStore());
 * await mailer.suppress({ address: "jane@example.com", kind: "bounce", reason: "550 5.1.1 no such user" });
 * const message = { from: "shop@example.com", to: "Jane@example.com", subject: "Hello", text: "Hello" };
 * const receipt = await mailer.send(message);
 * if (receipt.suppressed?.[0]?.kind !== "bounce") throw new Error("unexpected");
 * ```
 */
export function suppressing(
  mailer: Mailer,
  store: KeyValueStore,
  options: SuppressingOptions = {},
): SuppressingMailer {
  checkMailer(TASK, mailer);
  const must = "its second argument must be a KeyValueStore, such as memoryStore()";
  checkMethods(TASK, must, store, ["getMany", "setMany", "namespace"]);
  checkOptionNames(TASK, options, OPTIONS);
  const { ttl = {}, kinds = KINDS, isPermanent, onFault } = options;
  checkOptionNames(`${TASK} with this 'ttl'`, ttl, { bounce: true, complaint: true, unsubscribe: true });
  for (const [kind, time] of Object.entries(ttl)) {
    if (time !== undefined) toMilliseconds(time, `ttl.${kind}`);
  }
  if (!Array.isArray(kinds)) throw new TypeError(`Cannot ${TASK} as 'kinds' must be an array`);
  for (const kind of kinds) checkOneOf(TASK, "kinds", kind, KINDS);
  checkFunction(TASK, "isPermanent", isPermanent);
  checkFunction(TASK, "onFault", onFault);
  checkOneOf(TASK, "whenUnavailable", options.whenUnavailable ?? "throw", ["throw", "allow"]);
  return new Suppressing(mailer, store.namespace(options.name ?? "suppressions"), options);
}

class Suppressing implements SuppressingMailer {
  readonly name: string;
  readonly deduplicates: boolean;
  readonly selectsRecipients: boolean;
  readonly #mailer: Mailer;
  readonly #store: KeyValueStore;
  readonly #options: SuppressingOptions;

  constructor(mailer: Mailer, store: KeyValueStore, options: SuppressingOptions) {
    noteWrapper(this);
    this.name = mailer.name;
    this.deduplicates = mailer.deduplicates;
    this.selectsRecipients = mailer.selectsRecipients ?? false;
    this.#mailer = mailer;
    this.#store = store;
    this.#options = options;
  }

  async send(message: Message, options: SendOptions = {}): Promise<Receipt> {
    const prepared = prepareCall(this.name, message, options);
    const suppressed = await this.#suppressedOf([prepared], options.signal);
    const asked = options.recipients ?? addressesOf(prepared);
    const left = asked.filter((address) => !suppressed.has(address.toLowerCase()));
    const out = suppressionsOf(asked, suppressed);
    if (left.length === 0 && out.length > 0) return this.#nothing(out);
    if (out.length === 0) return await this.#deliver(prepared, options);
    const receipt =
      await (this.selectsRecipients
        ? this.#deliver(prepared, { ...options, recipients: left })
        : this.#deliver(without(prepared, suppressed), options));
    return { ...receipt, suppressed: out };
  }

  openBulk(): BulkSender {
    const inner = openBulk(this.#mailer);
    return {
      size: inner.size,
      repeatable: inner.repeatable,
      send: (...batch) => this.#batch(inner, ...batch),
      close: async () => await inner.close?.(),
    };
  }

  async suppress(feedback: MailFeedback | readonly MailFeedback[], options: CallOptions = {}): Promise<void> {
    checkOptionNames("suppress an address", options, CALL);
    const byKind = new Map<SuppressingKind, [string, Suppression][]>();
    for (const one of [feedback].flat() as MailFeedback[]) {
      checkOptionNames("suppress an address", one, FEEDBACK);
      const { kind, reason } = one;
      checkOneOf("suppress an address", "kind", kind, ["soft-bounce", ...KINDS]);
      if (kind === "soft-bounce") continue;
      const address = keyOf(one.address);
      const at = (this.#options.clock ?? systemClock).now();
      const entry = { address, kind, reason: String(reason).slice(0, 500), at };
      byKind.set(kind, [...byKind.get(kind) ?? [], [entryKey(kind, address), entry]]);
    }
    for (const [kind, entries] of byKind) {
      await this.#store.setMany(entries, { ...options, ttl: this.#options.ttl?.[kind] });
    }
  }

  async find(address: string, options: CallOptions = {}): Promise<Suppression | undefined> {
    checkOptionNames("find an address", options, CALL);
    const keys = KINDS.map((kind) => entryKey(kind, keyOf(address)));
    return (await this.#store.getMany<Suppression>(keys, options)).find((one) => one !== undefined);
  }

  async allow(address: string, options: CallOptions = {}): Promise<boolean> {
    checkOptionNames("allow an address", options, CALL);
    const keys = KINDS.map((kind) => entryKey(kind, keyOf(address)));
    return await this.#store.deleteMany(keys, options) > 0;
  }

  list(options: CallOptions = {}): AsyncIterable<Pick<Suppression, "address" | "kind">> {
    checkOptionNames("list addresses", options, CALL);
    const keys = this.#store.list(options);
    return (async function* () {
      for await (const key of keys) {
        const colon = key.indexOf(":");
        yield { kind: key.slice(0, colon) as SuppressingKind, address: key.slice(colon + 1) };
      }
    })();
  }

  #nothing(suppressed: readonly Suppression[]): Receipt {
    return { mailer: this.name, id: undefined, accepted: [], suppressed };
  }

  /** Sends a batch without its messages that have no recipient left. */
  #batch(
    inner: BulkSender,
    messages: readonly PreparedMessage[],
    keys: readonly (string | undefined)[],
    options: BatchOptions,
  ): Promise<Receipt>[] {
    const sending = (async () => {
      const suppressed = await this.#suppressedOf(messages, options.signal);
      const outs = messages.map((message) => suppressionsOf(addressesOf(message), suppressed));
      const sent = messages.map((_, i) => i).filter((i) =>
        outs[i]!.length < recipientsOf(messages[i]!).length
      );
      const left = sent.map((i) => outs[i]!.length > 0 ? without(messages[i]!, suppressed) : messages[i]!);
      const results = sent.length === 0 ? [] : inner.send(left, sent.map((i) => keys[i]), options);
      results.forEach((one) => one.catch(() => {})); // each is awaited by its own message
      return { outs, results: new Map(sent.map((i, n) => [i, { message: left[n]!, receipt: results[n] }])) };
    })();
    return messages.map(async (message, i) => {
      const { outs, results } = await sending;
      const out = outs[i]!;
      const result = results.get(i);
      if (out.length > 0 && result === undefined) return this.#nothing(out);
      const receipt = await this.#noted(
        addressesOf(result?.message ?? message),
        result?.receipt ?? Promise.reject(new Error("no answer came")),
      );
      return out.length > 0 ? { ...receipt, suppressed: out } : receipt;
    });
  }

  #deliver(message: PreparedMessage, options: SendOptions): Promise<Receipt> {
    return this.#noted(options.recipients ?? addressesOf(message), sendBy(this.#mailer, message, options));
  }

  /** The outcome, once the recipients that were refused for good are on the list. */
  async #noted(recipients: readonly string[], sending: Promise<Receipt>): Promise<Receipt> {
    try {
      const receipt = await sending;
      await this.#noteRejections(receipt.rejected ?? []);
      return receipt;
    } catch (error) {
      // The refusal of the only recipient is an error, of which the reply is the recipient's.
      if (error instanceof MailError && error.phase === "rcpt" && recipients.length === 1) {
        const { status, enhanced = "" } = error;
        await this.#noteRejections([{ address: recipients[0]!, status, reply: `${status} ${enhanced}` }]);
      }
      throw error;
    }
  }

  async #noteRejections(rejections: readonly Rejection[]): Promise<void> {
    const { isPermanent = isBadAddress } = this.#options;
    try {
      const bad = rejections.filter((rejection) => isPermanent(rejection));
      await this.suppress(bad.map(({ address, status, reply }) => (
        { address, kind: "bounce", reason: reply ?? String(status) }
      )));
    } catch (error) {
      this.#report(error); // what became of the message does not depend on it
    }
  }

  /** The suppressions of all recipients, in one call of the store. */
  async #suppressedOf(
    messages: readonly PreparedMessage[],
    signal: AbortSignal | undefined,
  ): Promise<ReadonlyMap<string, Suppression>> {
    const all = new Set(messages.flatMap(recipientsOf).map(({ address }) => address.toLowerCase()));
    const { kinds = KINDS, whenUnavailable } = this.#options;
    // The first kind of the option counts where an address has several: it is written last.
    const keys = [...kinds].reverse().flatMap((kind) => [...all].map((address) => entryKey(kind, address)));
    try {
      const found = keys.length === 0 ? [] : await this.#store.getMany<Suppression>(keys, { signal });
      return new Map(found.flatMap((one) => one ? [[one.address, one]] : []));
    } catch (cause) {
      this.#report(cause);
      if (whenUnavailable === "allow" && isOutage(cause)) return new Map();
      const code = signal?.aborted ? "aborted" : "backend-unavailable";
      throw mailError(this.name, code, "its suppression list cannot be read", {
        retryable: !signal?.aborted && isOutage(cause),
        cause,
      });
    }
  }

  #report(error: unknown): void {
    safely(this.#options.onFault)(error);
  }
}

function addressesOf(message: PreparedMessage): string[] {
  return recipientsOf(message).map(({ address }) => address);
}

function keyOf(address: string): string {
  return parseAddress(address).address.toLowerCase();
}

/** An entry for each kind, so that a later one does not hide another. */
function entryKey(kind: SuppressingKind, address: string): string {
  return `${kind}:${address}`;
}

/** Whether a refusal says that the address is no good, and not that the message or its sender is. */
function isBadAddress({ reply = "" }: Rejection): boolean {
  return /^5\d\d[ -]5\.(?:1\.(?:1|2|3|6|10)|2\.1)\b/.test(reply);
}

function suppressionsOf(
  addresses: readonly string[],
  suppressed: ReadonlyMap<string, Suppression>,
): Suppression[] {
  return addresses.flatMap((address) => suppressed.get(address.toLowerCase()) ?? []);
}

/**
 * The message without suppressed recipients. A copy takes the place of the last `to`, which must not be
 * empty.
 */
function without(message: PreparedMessage, suppressed: ReadonlyMap<string, Suppression>): PreparedMessage {
  const rest = (list: readonly Address[]) =>
    list.filter(({ address }) => !suppressed.has(address.toLowerCase()));
  const [to, cc, bcc] = [rest(message.to), rest(message.cc), rest(message.bcc)];
  return prepareMessage({
    ...message,
    to: to.length > 0 ? to : cc.slice(0, 1),
    cc: to.length > 0 ? cc : cc.slice(1),
    bcc,
  });
}
