/** A pool: a bounded number of connections to one server that messages share, the one used last first. */
import { type MailError, mailError } from "../../src/mail/mail_error.ts";
import { Deadline } from "./_deadline.ts";
import type { Letter } from "./_letter.ts";
import { type Outcome, type ServerLimits, Session, type SessionSettings } from "./_session.ts";

/** The bounds of a pool. */
export interface PoolLimits {
  readonly maxConnections: number;
  readonly maxMessages: number;
  /** Messages that may wait for a connection. */
  readonly maxWaiting: number;
  /** Milliseconds. */
  readonly idleTimeout: number;
}

/** The time for QUIT and its reply. */
const QUIT_MS = 1000;

interface Idle {
  readonly session: Session;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** A message that waits for its turn; it gets a connection, opened or not. */
type Waiter = (session: Session) => void;

/** A bounded set of connections to one server. */
export class Pool {
  readonly #settings: SessionSettings;
  readonly #limits: PoolLimits;
  readonly #server: ServerLimits;
  readonly #idle: Idle[] = [];
  readonly #waiting = new Set<Waiter>();
  readonly #busy = new Set<Promise<unknown>>();
  /** Connections that exist or are being opened or closed. */
  #count = 0;
  /** The number of connections the server admits, as far as it showed; forgotten when the last one closes. */
  #admitted: number;
  /**
   * Successes so far: without one since a message's last refusal, waiting for a connection has no prospect.
   */
  #progress = 0;
  #closed = false;

  constructor(settings: SessionSettings, limits: PoolLimits) {
    this.#settings = settings;
    this.#limits = limits;
    this.#server = { recipients: Infinity, messages: limits.maxMessages };
    this.#admitted = limits.maxConnections;
  }

  /** Sends a message over a connection that is free, or a new one. */
  deliver(letter: Letter, deadline: Deadline): Promise<Outcome> {
    return this.#track(this.#deliver(letter, deadline));
  }

  /** Closes what is idle, and what is busy when it is done; later messages have a connection of their own. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const idle of [...this.#idle]) this.#forget(idle);
    while (this.#busy.size > 0) await Promise.allSettled(this.#busy);
  }

  /**
   * Tries connections until one carries the message. Only what is certain not to have been sent is tried
   * again, and each further try needs a connection in a better state than the last, so it ends.
   */
  async #deliver(letter: Letter, deadline: Deadline): Promise<Outcome> {
    let refusedAt = -1;
    for (let retried = false;;) {
      const session = await this.#acquire(deadline);
      const used = session.messages;
      try {
        if (!session.isOpen) await session.open(deadline);
        this.#progress++;
        return await session.deliver(letter, deadline);
      } catch (thrown) {
        const error = thrown as MailError;
        if (error.delivery === "unknown" || deadline.signal.aborted) throw error;
        if (refusedAt < this.#progress && this.#overAdmitted(session, error)) {
          refusedAt = this.#progress;
          continue;
        }
        // A connection that carried messages before may be at the server's limit, which says nothing of this
        // message.
        if (used > 0 && session.refusedMail) continue;
        // It had closed unnoticed, or the server left over the number of recipients. Once: the next
        // connection is new.
        const stale = used > 0 && error.code === "backend-unavailable" && session.untouched;
        if (retried || !(stale || (session.foundLimit && !session.usable))) throw error;
        retried = true;
      } finally {
        this.#release(session);
      }
    }
  }

  /**
   * Whether the server refused one connection more than it admits: then the message waits for one of the
   * others. A reply of the server is proof that it is there; without one, a connection of ours must be.
   */
  #overAdmitted(session: Session, { phase, retryable, status }: MailError): boolean {
    const opening = phase === "connect" || phase === "greeting" || phase === "hello";
    if (!opening || !retryable || session.messages > 0 || this.#count <= 1) return false;
    if (status === undefined && this.#progress === 0) return false;
    this.#admitted = Math.max(1, Math.min(this.#admitted, this.#count - 1));
    return true;
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#busy.add(work);
    const done = () => this.#busy.delete(work);
    work.then(done, done);
    return work;
  }

  /**
   * A connection of this message's own until it is released, opened or not. Messages get them in the order
   * they came.
   *
   * @throws {MailError} `queue-full` when `maxWaiting` messages wait already
   */
  async #acquire(deadline: Deadline): Promise<Session> {
    if (this.#waiting.size >= this.#limits.maxWaiting) {
      const why = `${this.#limits.maxWaiting} messages wait for a connection`;
      throw mailError("smtp", "queue-full", why, { phase: "prepare", retryable: true });
    }
    let given: Session | undefined;
    let give!: Waiter;
    const turn = new Promise<Session>((resolve) => {
      give = (session) => resolve(given = session);
    });
    this.#waiting.add(give);
    this.#serve();
    try {
      return given ?? await deadline.wait(turn);
    } catch (error) {
      // It may have been given one in the same moment.
      if (!this.#waiting.delete(give) && given) this.#release(given);
      throw error;
    }
  }

  /** Gives connections to those that wait, as long as there are any. */
  #serve(): void {
    for (const give of this.#waiting) {
      const session = this.#takeIdle() ?? this.#reserve();
      if (session === undefined) return;
      this.#waiting.delete(give);
      give(session);
    }
  }

  #reserve(): Session | undefined {
    if (this.#count >= Math.min(this.#limits.maxConnections, this.#admitted)) return undefined;
    this.#count++;
    return new Session(this.#settings, this.#server);
  }

  #takeIdle(): Session | undefined {
    for (;;) {
      const idle = this.#idle.pop();
      if (idle === undefined) return undefined;
      clearTimeout(idle.timer);
      if (idle.session.usable) return idle.session;
      idle.session.destroy();
      this.#gone();
    }
  }

  #release(session: Session): void {
    if (!session.usable) {
      session.destroy();
      this.#gone();
    } else if (this.#closed || session.worn) this.#leave(session);
    else this.#keep(session);
    this.#serve();
  }

  #keep(session: Session): void {
    const timer = setTimeout(() => this.#forget(idle), this.#limits.idleTimeout);
    const idle: Idle = { session, timer };
    this.#idle.push(idle);
    // A server that sends something now, or closes, ends the connection.
    session.disturbed().then(() => this.#forget(idle));
  }

  #forget(idle: Idle): void {
    const at = this.#idle.indexOf(idle);
    if (at < 0) return;
    this.#idle.splice(at, 1);
    clearTimeout(idle.timer);
    this.#leave(idle.session);
  }

  /** Ends a connection politely. Its place is free once it is closed: a server may count it until then. */
  #leave(session: Session): void {
    const leaving = async () => {
      const deadline = new Deadline(QUIT_MS);
      await session.quit(deadline);
      deadline.end();
      this.#gone();
      this.#serve();
    };
    void this.#track(leaving());
  }

  #gone(): void {
    this.#count--;
    if (this.#count === 0) this.#admitted = this.#limits.maxConnections;
  }
}
