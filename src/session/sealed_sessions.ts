/**
 * Sessions in their cookie alone, sealed with AES-256-GCM. No store is needed, with these limits:
 *
 * - **A copied cookie works until it times out**, also after a logout. Revocation needs a store: with
 *   `revocation: store` every request that reads its session asks that store (three parallel reads), and
 *   logout, rotation, `revokeUser` and `revokeAll` take effect. Of parallel rotations one wins, and a logout
 *   ends the sessions of all of them.
 * - **A copied cookie brings its old values back**, also with a revocation store, until the session is
 *   rotated. Values that must only grow or only shrink (a count of attempts, a credit) do not belong into a
 *   sealed session.
 * - Parallel requests overwrite each other: the last cookie wins. Beside a rotation or a logout, with a
 *   revocation store, their changes are dropped, and `onConflict` is called.
 * - Name and value must fit into 4096 bytes; more is an error.
 * - A request that only reads never sets a cookie, since that could undo a logout or a login that happened
 *   meanwhile. With a revocation store the use of the session is recorded there. Without one the idle timeout
 *   counts from the last change.
 *
 * The sealed text has its own deadline and is bound to the cookie's name and `purpose`, so that no value is
 * accepted in place of one of another kind. The first key seals, all keys open.
 */
import { HoldfastError } from "../errors.ts";
import { dropRejection } from "../safely.ts";
import { KeyRing, type SealingKey } from "./_key_ring.ts";
import type { Schema, SchemaOutput } from "../schema.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { checkOptionNames, type OptionNames } from "../validate.ts";
import {
  checkCommitOptions,
  checkCookieHeader,
  checkRequest,
  checkRevokeUser,
  type Common,
  COMMON_OPTIONS,
  commonOptions,
} from "./_common_options.ts";
import { dataOf, matters, type Patch } from "./_patch.ts";
import { notesOf, RequestSession } from "./_request_session.ts";
import { SealedFamilies } from "./_sealed_families.ts";
import { planSealed, type SealedPlan } from "./_sealed_plan.ts";
import { type Sealed, sealedText, sealedValue } from "./_sealed_value.ts";
import {
  NO_SESSION,
  type SessionChanges,
  type SessionNotes,
  type SessionSource,
  type SessionView,
} from "./_session_notes.ts";
import { sha256 } from "../sha256.ts";
import type { Session } from "./session.ts";
import { type SessionCookie, sessionCookie } from "./session_cookie.ts";
import type { SessionRecord } from "./session_record.ts";
import { boundSession } from "./session_response.ts";
import { ALL_USERS } from "./session_store.ts";
import type { BoundSession, CommitOptions, RequestSessions, SessionsOptions } from "./sessions.ts";

export type { SealingKey } from "./_key_ring.ts";

/**
 * Options of {@linkcode createSealedSessions}.
 *
 * @category Sessions
 */
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
    | "onFault"
  > {
  /**
   * The keys: the first one seals, all of them open. To rotate, add a new one in front, and drop the last one
   * after `absoluteTimeout`.
   */
  readonly keys: readonly [SealingKey, ...SealingKey[]];
  /**
   * The purpose of the cookie; a value that was sealed for another purpose is not accepted.
   * @default {"session"}
   */
  readonly purpose?: string | undefined;
  /** The store of revocations; without one, sessions cannot be revoked. */
  readonly revocation?: AtomicStore | undefined;
}

/** The names of all options; a function, since bundlers keep a spread at the top of a module. */
const optionNames = () => ({
  ...COMMON_OPTIONS,
  keys: true,
  purpose: true,
  revocation: true,
} satisfies OptionNames<SealedSessionsOptions<Schema>>);

/**
 * Sealed sessions that can be revoked.
 *
 * @category Sessions
 */
export interface RevocableSessions<Data> extends RequestSessions<Data> {
  /** Ends all sessions of a user but one. */
  revokeUser(userId: string, options?: { readonly except?: string | undefined }): Promise<void>;
  /** Ends all sessions of all users. */
  revokeAll(): Promise<void>;
}

/** The most bytes of name and value that a browser keeps. */
const MOST_BYTES = 4096;

/**
 * Creates sealed sessions. Their limits are listed in the module's documentation.
 *
 * @throws {TypeError} when a key is not 32 bytes, two have the same id, or an option is unknown
 * @category Sessions
 * @example
 * ```ts
 * import { createSealedSessions } from "@holdfast/edge/sessions";
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
/** Sessions in their cookies, which cannot be revoked. */
export function createSealedSessions<S extends Schema = Schema<Record<string, unknown>>>(
  options: SealedSessionsOptions<S>,
): RequestSessions<SchemaOutput<S>>;
export function createSealedSessions<S extends Schema = Schema<Record<string, unknown>>>(
  options: SealedSessionsOptions<S>,
): RevocableSessions<SchemaOutput<S>> {
  return new SealedSessions<SchemaOutput<S>>(options);
}

class SealedSessions<Data> implements RevocableSessions<Data> {
  readonly cookieName: string;
  readonly #cookie: SessionCookie;
  readonly #ring: KeyRing;
  readonly #families: SealedFamilies | undefined;
  readonly #common: Common<Data>;
  readonly #source: SessionSource<Data>;

  constructor(options: SealedSessionsOptions<Schema>) {
    checkOptionNames("make sealed sessions", options ?? null, optionNames());
    const { keys, purpose = "session", revocation } = options;
    this.#cookie = sessionCookie(options.cookie, /^[A-Za-z0-9_-]{1,16}\.[A-Za-z0-9_-]{40,4096}$/);
    this.cookieName = this.#cookie.name;
    const kind = `holdfast sealed session\n${this.cookieName}\n${purpose}`;
    this.#ring = new KeyRing(keys, kind);
    this.#common = commonOptions(options);
    this.#source = { ...this.#common, kind, load: (token) => this.#load(token) };
    if (revocation !== undefined) {
      if (typeof revocation?.transact !== "function") {
        throw new TypeError("Cannot make sealed sessions as 'revocation' must be an AtomicStore");
      }
      this.#families = new SealedFamilies(revocation);
    }
  }

  open(cookieHeader: string | null | undefined): RequestSession<Data> {
    checkCookieHeader(cookieHeader);
    const tokens = this.#cookie.read(cookieHeader);
    if (tokens.length > 1) this.#common.emit({ type: "duplicate-cookie" });
    return new RequestSession<Data>(tokens, this.#source);
  }

  fromRequest(request: Request): BoundSession<Data> {
    checkRequest(request);
    return boundSession(this, this.open(request.headers.get("cookie")), request);
  }

  async #load(token: string): Promise<SessionView> {
    const { clock, emit, interpret } = this.#common;
    const text = await this.#ring.open(token);
    if (text === undefined) {
      emit({ type: "unknown-id" });
      return NO_SESSION;
    }
    const sealed = sealedValue(text);
    const { record } = sealed;
    const now = clock.now();
    const state = now >= record.endsAt ? undefined : await this.#families?.state(sealed);
    if (state?.ended !== undefined) return { ...NO_SESSION, ended: state.ended, endedAgo: state.endedAgo };
    // The store may have seen the session after its cookie was sealed: the later use counts.
    const idle = Math.min(now - record.touchedAt, state?.idle ?? Infinity);
    if (now >= record.endsAt || idle >= record.idleTimeout) {
      emit({ type: "expired", handle: record.handle });
      return { ...NO_SESSION, ended: "expired" };
    }
    const view = await interpret(record);
    const current = { ...sealed, ...(state && { epochs: state.epochs }) };
    return { ...view, secret: sealed.secret, sealed: current, idle };
  }

  async commit(session: Session<Data>, options: CommitOptions = {}): Promise<string | undefined> {
    checkCommitOptions(options);
    const notes = notesOf(session);
    if (notes?.source.kind !== this.#source.kind) {
      throw new TypeError("Cannot commit the session as sessions of this kind did not open it");
    }
    const changes = notes.freeze(options.failed ?? false);
    try {
      if (changes.revoke) {
        const gone = await this.#revoke(notes);
        if (changes.login === undefined) return gone;
      }
      const cookie = await this.#commit(notes, changes, options);
      if (notes.lost) await options.onConflict?.();
      return cookie;
    } catch (error) {
      if (!notes.faults.includes(error)) this.#common.fault(error);
      throw error;
    }
  }

  async #commit(
    notes: SessionNotes<Data>,
    changes: SessionChanges,
    options: CommitOptions,
  ): Promise<string | undefined> {
    const { patch: { set, unset }, create, rotate, login } = changes;
    const changed = Object.keys(set).length > 0 || unset.length > 0 || create || rotate;
    if (!changed && !notes.loaded) return undefined;
    const looked = notes.loaded;
    const view = await notes.view();
    // Asked again after the view was loaded: for a login of another user it drops changes that were computed
    // from the previous user's values.
    const patch = login === undefined ? changes.patch : notes.patch();
    const touchDue = this.#families !== undefined && (view.idle ?? 0) >= this.#common.touchEvery;
    const plan = planSealed(view, changes, patch, { touchDue, looked });
    if (plan.step === "touch") await this.#touch(view.sealed!, options);
    if (plan.step === "conflict") this.#drop(notes, patch);
    if (!("values" in plan)) return undefined;
    if (await this.#common.validate(dataOf(plan.values)) === undefined) {
      throw new TypeError("Cannot commit the session as its data does not match the schema");
    }
    if (plan.step === "begin" && login !== undefined) await this.#endDuplicates(notes);
    return await this.#execute(notes, view, login, plan);
  }

  /**
   * Seals the planned values. The store is asked last, as sealing may fail: once it has accepted the new
   * handle, the old cookie is worth nothing, and the new one must exist.
   */
  async #execute(
    notes: SessionNotes<Data>,
    view: SessionView,
    login: string | undefined,
    { step, values }: Extract<SealedPlan, { values: unknown }>,
  ): Promise<string | undefined> {
    const { emit } = this.#common;
    const now = this.#common.clock.now();
    const old = view.sealed;
    const clean = notes.changesUser(view);
    const { version } = this.#common;
    const schemaVersion = clean || old === undefined ? version : view.schemaVersion ?? version;
    const sealed: Sealed = step === "begin" || step === "login"
      ? await this.#first(notes, { values, schemaVersion, login, now })
      : this.#next(notes, old!, { values, schemaVersion, rotate: step === "rotate", now });
    const cookie = await this.#seal(sealed, now);
    if (!await this.#claim(step, old, sealed, now)) {
      return this.#drop(notes, notes.patch(), old!.record.handle);
    }
    const { handle, userId } = sealed.record;
    const about = { handle, ...(userId !== undefined && { userId }) };
    if (step === "begin") emit({ type: "created", ...about });
    if (step === "rotate" || step === "login") emit({ type: "rotated", ...about });
    if (login !== undefined) emit({ type: "logged-in", ...about });
    return cookie;
  }

  /**
   * Drops the changes of the request and reports the conflict: there is no record that could still take them.
   */
  #drop(notes: SessionNotes<Data>, patch: Patch, handle?: string): undefined {
    notes.lost ||= matters(patch);
    this.#common.emit({ type: "conflict", ...(handle !== undefined && { handle }) });
  }

  /** The first session of a family. */
  async #first(
    notes: SessionNotes<Data>,
    { values, schemaVersion, login, now }: {
      readonly values: SessionRecord["values"];
      readonly schemaVersion: number;
      readonly login: string | undefined;
      readonly now: number;
    },
  ): Promise<Sealed> {
    const { absolute, idle } = this.#common;
    // Read before it is sealed: a revocation from now on ends it.
    const epochs = await this.#families?.epochs(login) ?? { all: 0, user: 0 };
    const record: SessionRecord = {
      handle: notes.newHandle,
      version: 1,
      createdAt: now,
      touchedAt: now,
      checkedAt: now,
      bornAt: now,
      idleTimeout: idle,
      endsAt: now + absolute,
      schemaVersion,
      ...(login !== undefined && { userId: login, authenticatedAt: now }),
      values,
    };
    return { record, secret: notes.newToken, family: record.handle, epochs };
  }

  /** The session with other values; after a rotation with another handle and another secret, too. */
  #next(
    notes: SessionNotes<Data>,
    old: Sealed,
    { values, schemaVersion, rotate, now }: {
      readonly values: SessionRecord["values"];
      readonly schemaVersion: number;
      readonly rotate: boolean;
      readonly now: number;
    },
  ): Sealed {
    const { idle } = this.#common;
    const record = {
      ...old.record,
      touchedAt: now,
      checkedAt: now,
      idleTimeout: idle,
      schemaVersion,
      values,
    };
    if (!rotate) return { ...old, record: { ...record, version: record.version + 1 } };
    return { ...old, record: { ...record, handle: notes.newHandle, version: 1 }, secret: notes.newToken };
  }

  /**
   * Whether the new cookie may be handed out. An update needs the old handle to be the current one still, a
   * rotation replaces it in the same step, a login ends the old family and always succeeds.
   */
  async #claim(
    step: SealedPlan["step"],
    old: Sealed | undefined,
    next: Sealed,
    now: number,
  ): Promise<boolean> {
    if (this.#families === undefined || old === undefined) return true;
    if (step === "update") return await this.#families.counts(old);
    if (step === "rotate") return await this.#families.rotate(old, next.record.handle, now);
    // Not refused if the old family has ended meanwhile: a login does not depend on the session of its
    // request.
    await this.#families.end(old, "rotated", now);
    return true;
  }

  async #touch(sealed: Sealed, { waitUntil }: CommitOptions): Promise<void> {
    const { clock, emit, fault } = this.#common;
    const work = this.#families!.touch(sealed, clock.now()).catch((error) => {
      emit({ type: "touch-failed", handle: sealed.record.handle });
      fault(error);
    });
    if (waitUntil === undefined || dropRejection(waitUntil(work)) === false) await work;
  }

  async #seal(sealed: Sealed, now: number): Promise<string> {
    const value = await this.#ring.seal(sealedText(sealed));
    const bytes = this.cookieName.length + 1 + value.length;
    if (bytes > MOST_BYTES) {
      throw new HoldfastError(
        "cookie-too-large",
        `Cannot seal the session as a cookie holds at most ${MOST_BYTES} bytes: current value is ${bytes}`,
      );
    }
    return this.#cookie.write(value, Math.max(1, Math.ceil((sealed.record.endsAt - now) / 1000)));
  }

  /** Ends every session that the request carries. */
  async #revoke({ tokens }: SessionNotes<Data>): Promise<string | undefined> {
    if (tokens.length === 0) return undefined;
    await Promise.all(tokens.map(async (token) => {
      const ended = await this.#end(token, "revoked");
      if (ended === undefined) return;
      const { handle, userId } = ended.record;
      this.#common.emit({ type: "revoked", handle, ...(userId !== undefined && { userId }) });
    }));
    return this.#cookie.write("", 0);
  }

  /**
   * Ends the families of all cookies of the request, for a login where none of several cookies is valid: next
   * time the browser would send them again beside the new one.
   */
  async #endDuplicates({ tokens }: SessionNotes<Data>): Promise<void> {
    if (tokens.length < 2) return;
    await Promise.all(tokens.map((token) => this.#end(token, "rotated")));
  }

  async #end(token: string, why: "rotated" | "revoked"): Promise<Sealed | undefined> {
    const text = await this.#ring.open(token);
    if (text === undefined) return undefined;
    const sealed = sealedValue(text);
    await this.#families?.end(sealed, why, this.#common.clock.now());
    return sealed;
  }

  async revokeUser(userId: string, options: { readonly except?: string | undefined } = {}): Promise<void> {
    checkRevokeUser(userId, options);
    await this.#revokeAs(sha256(userId), options.except);
  }

  async revokeAll(): Promise<void> {
    await this.#revokeAs(ALL_USERS, undefined);
  }

  async #revokeAs(user: string, except: string | undefined): Promise<void> {
    const families = this.#revocable();
    try {
      await families.revoke(user, this.#common.absolute, except);
    } catch (error) {
      this.#common.fault(error);
      throw error;
    }
  }

  #revocable(): SealedFamilies {
    if (this.#families !== undefined) return this.#families;
    throw new TypeError("Cannot revoke sealed sessions as they have no 'revocation' store");
  }
}
