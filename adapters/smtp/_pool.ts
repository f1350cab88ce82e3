/** Connections that messages share: never more than so many, the one used last first. */
import { MailError } from "../../src/mail/mail_error.ts";
import type { MimeMessage } from "../../src/mail/mime.ts";
import { Patience } from "./_patience.ts";
import { Session, type SessionSettings } from "./_session.ts";
import type { Delivered } from "./_transaction.ts";

/** How many, and for how long. */
export interface PoolLimits {
  readonly maxConnections: number;
  readonly maxMessages: number;
  /** Milliseconds. */
  readonly idleTimeout: number;
}

/** How long a good-bye may take. */
const GOODBYE = 1000;

interface Idle {
  readonly session: Session;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** A bounded set of connections to one server. */
export class Pool {
  readonly #settings: SessionSettings;
  readonly #limits: PoolLimits;
  readonly #idle: Idle[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #busy = new Set<Promise<unknown>>();
  #free: number;
  #closed = false;

  constructor(settings: SessionSettings, limits: PoolLimits) {
    this.#settings = settings;
    this.#limits = limits;
    this.#free = limits.maxConnections;
  }

  /** Sends a message over a connection that is free, or a new one. */
  deliver(mime: MimeMessage, wait: Patience): Promise<Delivered> {
    return this.#known(this.#deliver(mime, wait));
  }

  /** Closes what is idle, and what is busy when it is done; whatever is sent later has a connection of its own. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const idle of [...this.#idle]) this.#forget(idle);
    while (this.#busy.size > 0) await Promise.allSettled(this.#busy);
  }

  async #deliver(mime: MimeMessage, wait: Patience): Promise<Delivered> {
    await this.#turn(wait);
    let session = this.#take();
    try {
      if (session) {
        try {
          return await session.deliver(mime, wait);
        } catch (error) {
          // It had died without our noticing: whatever we said, nobody has heard it. Once, as the next one is new.
          if (!(error instanceof MailError && error.code === "backend-unavailable" && session.untouched)) {
            throw error;
          }
        }
      }
      session = new Session(this.#settings);
      await session.open(wait);
      return await session.deliver(mime, wait);
    } finally {
      this.#put(session!);
    }
  }

  #known<T>(work: Promise<T>): Promise<T> {
    this.#busy.add(work);
    const done = () => this.#busy.delete(work);
    work.then(done, done);
    return work;
  }

  async #turn(wait: Patience): Promise<void> {
    if (this.#free > 0) return void this.#free--;
    let go!: () => void;
    const turn = new Promise<void>((resolve) => go = resolve);
    this.#waiting.add(go);
    try {
      await wait.for(turn);
    } catch (error) {
      if (!this.#waiting.delete(go)) this.#next();
      throw error;
    }
  }

  #next(): void {
    const [go] = this.#waiting;
    if (go === undefined) return void this.#free++;
    this.#waiting.delete(go);
    go();
  }

  #take(): Session | undefined {
    for (;;) {
      const idle = this.#idle.pop();
      if (idle === undefined) return undefined;
      clearTimeout(idle.timer);
      if (idle.session.usable) return idle.session;
      idle.session.destroy();
    }
  }

  #put(session: Session): void {
    if (!session.usable) session.destroy();
    else if (this.#closed || session.messages >= this.#limits.maxMessages) {
      return void this.#known(leave(session).then(() => this.#next()));
    } else this.#keep(session);
    this.#next();
  }

  #keep(session: Session): void {
    const timer = setTimeout(() => this.#forget(idle), this.#limits.idleTimeout);
    const idle: Idle = { session, timer };
    this.#idle.push(idle);
    // A server that speaks or leaves now is of no more use.
    session.disturbed().then(() => this.#forget(idle));
  }

  #forget(idle: Idle): void {
    const at = this.#idle.indexOf(idle);
    if (at < 0) return;
    this.#idle.splice(at, 1);
    clearTimeout(idle.timer);
    this.#known(leave(idle.session));
  }
}

async function leave(session: Session): Promise<void> {
  const wait = new Patience(GOODBYE);
  await session.quit(wait);
  wait.end();
}
