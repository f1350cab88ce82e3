/**
 * Sessions that live in their cookie alone, sealed with AES-256-GCM. Nothing is stored, so nothing has to be reached; the
 * price is honest:
 *
 * - **A cookie that somebody kept works until it times out**, after a logout, too. Revoking needs a place to remember it:
 *   with `revocation: store` every request that looks at its session asks that store (three reads at once), and logout,
 *   rotation, `revokeUser` and `revokeAll` hold.
 * - Parallel requests overwrite each other: the last cookie wins.
 * - Name and value must fit into 4096 bytes; more is an error, never cut.
 *
 * What is sealed carries its own deadline and is bound to the cookie's name and `purpose`, so that no sealed value of one
 * kind passes for another. Keys form a ring: the first one seals, all of them open.
 */
import { type Clock, systemClock } from "../clock.ts";
import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import type { Schema, SchemaOutput } from "../schema.ts";
import { sha256 } from "./_sha256.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { Fields } from "../store/transition.ts";
import { KeyRing, type SealingKey } from "./_key_ring.ts";
import { applied, dataOf, isEmpty } from "./_patch.ts";
import { interpreter, quietly } from "./_interpret.ts";
import { NO_SESSION, RequestSession, type SessionView } from "./_request_session.ts";
import { isRevoked } from "./_user_wide.ts";
import { atomicSessionStore } from "./atomic_session_store.ts";
import type { Session } from "./session.ts";
import { type SessionCookie, sessionCookie } from "./session_cookie.ts";
import type { SessionEvent } from "./session_event.ts";
import { sessionExpiry, sessionFields, type SessionRecord, sessionRecord } from "./session_record.ts";
import { type BoundSession, boundSession } from "./session_response.ts";
import { type Atomic, EVERYBODY, type IndexedSessionStore } from "./session_store.ts";
import type { CommitOptions, RequestSessions, SessionsOptions } from "./sessions.ts";

export type { SealingKey } from "./_key_ring.ts";

/** Options of {@linkcode createSealedSessions}. */
export interface SealedSessionsOptions<S extends Schema> extends
  Pick<
    SessionsOptions<S>,
    | "schema"
    | "version"
    | "migrate"
    | "idleTimeout"
    | "absoluteTimeout"
    | "touchEvery"
    | "cookie"
    | "clock"
    | "onEvent"
  > {
  /** The ring: the first key seals, all of them open. To rotate, put a new one in front, and drop the last after `absoluteTimeout`. */
  readonly keys: readonly [SealingKey, ...SealingKey[]];
  /**
   * What the cookie is for; a value sealed for another purpose is none.
   * @default {"session"}
   */
  readonly purpose?: string;
  /** Where revocations are remembered; without it there are none. */
  readonly revocation?: AtomicStore;
}

/** Sealed sessions that can be revoked. */
export interface RevocableSessions<Data> extends RequestSessions<Data> {
  /** Ends all sessions of a user but one. */
  revokeUser(userId: string, options?: { readonly except?: string | undefined }): Promise<void>;
  /** Ends all sessions of everybody. */
  revokeAll(): Promise<void>;
}

/** The longest name and value a browser keeps. */
const MOST_BYTES = 4096;

/**
 * Sessions in their cookies. Read what this cannot promise above, or in the module's documentation.
 *
 * @throws {TypeError} when a key is not 32 bytes or two have the same id
 * @example
 * ```ts
 * import { createSealedSessions } from "@holdfast/edge";
 * const secret = crypto.getRandomValues(new Uint8Array(32)); // keep it; a new one forgets every session
 * const sessions = createSealedSessions({ keys: [{ id: "2026-01", secret }] });
 * const session = sessions.open(null);
 * session.set("theme", "dark");
 * const cookie = await sessions.commit(session);
 * if (await sessions.open(cookie!.split(";")[0]).get("theme") !== "dark") throw new Error("unexpected");
 * ```
 */
export function createSealedSessions<S extends Schema = Schema<Record<string, unknown>>>(
  options: SealedSessionsOptions<S> & { readonly revocation: AtomicStore },
): RevocableSessions<SchemaOutput<S>>;
/** Sessions in their cookies, which nobody can revoke. */
export function createSealedSessions<S extends Schema = Schema<Record<string, unknown>>>(
  options: SealedSessionsOptions<S>,
): RequestSessions<SchemaOutput<S>>;
export function createSealedSessions<S extends Schema = Schema<Record<string, unknown>>>(
  options: SealedSessionsOptions<S>,
): RevocableSessions<SchemaOutput<S>> {
  return new SealedSessions<SchemaOutput<S>>(options);
}

/** What is inside: the record, and the secret that CSRF tokens are made of. */
interface Sealed {
  readonly record: SessionRecord;
  readonly secret: string;
}

class SealedSessions<Data> implements RevocableSessions<Data> {
  readonly cookieName: string;
  readonly #cookie: SessionCookie;
  readonly #ring: KeyRing;
  readonly #graves: Atomic<IndexedSessionStore> | undefined;
  readonly #options: SealedSessionsOptions<Schema>;
  readonly #interpret: (record: SessionRecord) => Promise<SessionView>;
  readonly #version: number;
  readonly #clock: Clock;
  readonly #emit: (event: SessionEvent) => void;
  readonly #idle: number;
  readonly #absolute: number;
  readonly #touchEvery: number;

  constructor(options: SealedSessionsOptions<Schema>) {
    this.#options = options;
    this.#cookie = sessionCookie(options.cookie, /^[A-Za-z0-9_-]{1,16}\.[A-Za-z0-9_-]{40,}$/);
    this.cookieName = this.#cookie.name;
    this.#ring = new KeyRing(
      options.keys,
      `holdfast sealed session\n${this.cookieName}\n${options.purpose ?? "session"}`,
    );
    this.#clock = options.clock ?? systemClock;
    this.#emit = quietly(options.onEvent);
    this.#version = options.version ?? 1;
    this.#interpret = interpreter(options, this.#version, this.#emit);
    this.#idle = toMilliseconds(options.idleTimeout ?? "30m", "idleTimeout");
    this.#absolute = toMilliseconds(options.absoluteTimeout ?? "12h", "absoluteTimeout");
    this.#touchEvery = options.touchEvery === undefined
      ? Math.min(60_000, this.#idle / 10)
      : toMilliseconds(options.touchEvery, "touchEvery");
    if (options.revocation !== undefined) {
      this.#graves = atomicSessionStore(options.revocation, {
        name: "sealed-session",
        remember: this.#absolute + 60_000,
      });
    }
  }

  open(cookieHeader: string | null | undefined): RequestSession<Data> {
    const { token, count } = this.#cookie.read(cookieHeader);
    if (count > 1) this.#emit({ type: "duplicate-cookie" });
    return new RequestSession<Data>(token, {
      checks: this.#options.schema !== undefined,
      clock: this.#clock,
      emit: this.#emit,
      load: (session) => this.#load(session.token!),
      validate: (values) => this.#validate(values),
    });
  }

  fromRequest(request: Request): BoundSession<Data> {
    return boundSession(this, this.open(request.headers.get("cookie")), request.method);
  }

  async #load(token: string): Promise<SessionView> {
    const sealed = await this.#unseal(token);
    if (sealed === undefined) {
      this.#emit({ type: "unknown-id" });
      return NO_SESSION;
    }
    const { record, secret } = sealed;
    if (this.#clock.now() >= sessionExpiry(record)) {
      this.#emit({ type: "expired", handle: record.handle });
      return { ...NO_SESSION, ended: "expired" };
    }
    if (this.#graves !== undefined) {
      const [grave, revoked] = await Promise.all([
        this.#graves.load(sha256(record.handle)),
        isRevoked(this.#graves.index, record),
      ]);
      if (grave.state === "ended") return { ...NO_SESSION, ended: grave.why };
      if (revoked) return { ...NO_SESSION, ended: "revoked" };
    }
    return { ...await this.#interpret(record), secret };
  }

  async #unseal(token: string): Promise<Sealed | undefined> {
    const text = await this.#ring.open(token);
    if (text === undefined) return undefined;
    const { z, ...fields } = JSON.parse(text) as Record<string, string>;
    return { record: sessionRecord(fields), secret: z! };
  }

  async #validate(values: Record<string, unknown>): Promise<Data | undefined> {
    const { schema } = this.#options;
    if (schema === undefined) return values as Data;
    const result = await schema["~standard"].validate(values);
    return result.issues === undefined ? result.value as Data : undefined;
  }

  async commit(session: Session<Data>, options: CommitOptions = {}): Promise<string | undefined> {
    if (!(session instanceof RequestSession)) {
      throw new TypeError("Cannot commit the session as it was not opened by this module");
    }
    const { patch, create, rotate, login, revoke } = session.freeze(options.failed ?? false);
    if (revoke) return await this.#revoke(session);
    const changed = !isEmpty(patch) || create || rotate;
    if (!changed && !session.loaded) return undefined;
    const { record: old, values, secret, ended } = await session.view();
    const now = this.#clock.now();
    if (old === undefined) {
      if (!changed || (ended === "rotated" && login === undefined)) {
        if (changed) this.#emit({ type: "conflict" });
        return undefined;
      }
      const fresh = applied({}, patch);
      if (Object.keys(fresh).length === 0 && !create && login === undefined) return undefined;
    } else if (!changed && now - old.touchedAt < this.#touchEvery) return undefined;
    const next = applied(values, patch);
    if (changed && await this.#validate(dataOf(next)) === undefined) {
      throw new TypeError("Cannot commit the session as its data does not match the schema");
    }
    const renewed = old === undefined || rotate;
    const before = login === undefined ? old : undefined; // a login begins a new life
    const userId = login ?? old?.userId;
    const authenticatedAt = login === undefined ? old?.authenticatedAt : now;
    const record: SessionRecord = {
      handle: renewed ? session.newHandle : old.handle,
      version: renewed ? 1 : old.version + 1,
      createdAt: before?.createdAt ?? now,
      touchedAt: now,
      checkedAt: now,
      bornAt: login === undefined ? old?.bornAt ?? now : await this.#birth(login, now),
      idleTimeout: this.#idle,
      endsAt: before?.endsAt ?? now + this.#absolute,
      schemaVersion: this.#version,
      ...(userId !== undefined && { userId }),
      ...(authenticatedAt !== undefined && { authenticatedAt }),
      values: next,
    };
    const cookie = await this.#seal({ record, secret: renewed ? session.newToken : secret! }, now);
    if (old !== undefined && rotate) await this.#bury(old, "rotated");
    const event = { handle: record.handle, ...(userId !== undefined && { userId }) };
    if (renewed) this.#emit({ type: old === undefined ? "created" : "rotated", ...event });
    if (login !== undefined) this.#emit({ type: "logged-in", ...event });
    return cookie;
  }

  /** A login counts as born after the last revocation, whatever the clocks say. */
  async #birth(userId: string, now: number): Promise<number> {
    if (this.#graves === undefined) return now;
    const { index } = this.#graves;
    const known = await Promise.all([index.read(EVERYBODY), index.read(sha256(userId))]);
    return Math.max(now, ...known.map(({ epoch }) => epoch));
  }

  async #seal({ record, secret }: Sealed, now: number): Promise<string> {
    const fields: Fields = { ...sessionFields(record), z: secret };
    const value = await this.#ring.seal(JSON.stringify(fields));
    const bytes = this.cookieName.length + 1 + value.length;
    if (bytes > MOST_BYTES) {
      throw new HoldfastError(
        "cookie-too-large",
        `Cannot seal the session as a cookie holds at most ${MOST_BYTES} bytes: current value is ${bytes}`,
      );
    }
    return this.#cookie.write(value, Math.max(1, Math.ceil((record.endsAt - now) / 1000)));
  }

  async #revoke(session: RequestSession<Data>): Promise<string | undefined> {
    if (session.token === undefined) return undefined;
    const sealed = await this.#unseal(session.token);
    if (sealed !== undefined) {
      const { handle, userId } = sealed.record;
      await this.#bury(sealed.record, "revoked");
      this.#emit({ type: "revoked", handle, ...(userId !== undefined && { userId }) });
    }
    return this.#cookie.write("", 0);
  }

  async #bury(record: SessionRecord, why: "rotated" | "revoked"): Promise<void> {
    await this.#graves?.delete(sha256(record.handle), { why, absent: "bury" });
  }

  async revokeUser(userId: string, options: { readonly except?: string | undefined } = {}): Promise<void> {
    await this.#revocation().revoke(sha256(userId), {
      except: options.except,
      remember: this.#absolute,
    });
  }

  async revokeAll(): Promise<void> {
    await this.#revocation().revoke(EVERYBODY, { remember: this.#absolute });
  }

  #revocation(): IndexedSessionStore["index"] {
    if (this.#graves !== undefined) return this.#graves.index;
    throw new TypeError("Cannot revoke sealed sessions as they have no 'revocation' store");
  }
}
