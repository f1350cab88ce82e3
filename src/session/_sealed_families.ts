/**
 * The `revocation` store of sealed sessions: the valid cookie of each family, and the revoked users.
 */
import type { AtomicStore } from "../store/atomic_store.ts";
import type { Epochs, Sealed } from "./_sealed_value.ts";
import { sha256 } from "../sha256.ts";
import { atomicSessionStore } from "./atomic_session_store.ts";
import { ALL_USERS, type SessionEnd, type SessionIndex, type UserSessions } from "./session_store.ts";
import { endSealed, readSealed, rotateSealed, touchSealed } from "./session_transitions.ts";

/**
 * The time for which a family is kept after its cookie has expired, in milliseconds. The clock of the isolate
 * ends the cookie, the clock of the store ends the family: they may differ by as much.
 */
const MARGIN = 3_600_000;

/** The state of a cookie in the store. */
export interface FamilyState {
  /** The reason that it is not valid; `undefined` when it is. */
  readonly ended: SessionEnd | undefined;
  /**
   * The time since its family was ended, in milliseconds; `undefined` when it was not, or an epoch ended it.
   */
  readonly endedAgo: number | undefined;
  /** The time since its last recorded use, in milliseconds; `undefined` when there is none. */
  readonly idle: number | undefined;
  /** The epochs that it has been compared with. */
  readonly epochs: Epochs;
}

type UserEpoch = Pick<UserSessions, "epoch" | "spared">;

/** Families of sealed sessions on a store. */
export class SealedFamilies {
  readonly index: SessionIndex;
  readonly #families: AtomicStore;

  constructor(store: AtomicStore) {
    const name = "sealed-session";
    this.index = atomicSessionStore(store, { name }).index;
    this.#families = store.namespace(name).namespace("family");
  }

  /** Reads whether the cookie is valid. Three parallel reads, two where no user is logged in. */
  async state(sealed: Sealed): Promise<FamilyState> {
    const { handle, userId } = sealed.record;
    const [known, [all, user]] = await Promise.all([
      this.#families.transact(readSealed, keyOf(sealed), {}),
      this.#epochs(userId),
    ]);
    const current = known.current ?? sealed.family;
    const revoked = all.epoch > sealed.epochs.all ||
      (user.epoch > sealed.epochs.user && user.spared !== handle);
    const ended = known.ended ?? (current !== handle ? "rotated" : revoked ? "revoked" : undefined);
    const ago = known.idle === undefined ? undefined : Number(known.idle);
    return {
      ended: ended as SessionEnd | undefined,
      endedAgo: known.ended === undefined ? undefined : ago,
      idle: ago,
      // One that is spared has survived this epoch, also after its handle has changed.
      epochs: { all: Math.max(all.epoch, sealed.epochs.all), user: Math.max(user.epoch, sealed.epochs.user) },
    };
  }

  /** The epochs at the beginning of a session. */
  async epochs(userId: string | undefined): Promise<Epochs> {
    const [all, user] = await this.#epochs(userId);
    return { all: all.epoch, user: user.epoch };
  }

  /** That of all users, and that of one. */
  async #epochs(userId: string | undefined): Promise<[UserEpoch, UserEpoch]> {
    return await Promise.all([
      this.index.read(ALL_USERS),
      userId === undefined ? { epoch: 0 } : this.index.read(sha256(userId)),
    ]);
  }

  /**
   * Reads again whether the cookie is valid, just before another one is sealed in its place: its family may
   * have ended since the request read it, and an epoch may have revoked it.
   */
  async counts(sealed: Sealed): Promise<boolean> {
    return (await this.state(sealed)).ended === undefined;
  }

  /**
   * Replaces the valid handle, and answers whether it did: of parallel rotations and a logout exactly one
   * succeeds.
   */
  async rotate(sealed: Sealed, to: string, now: number): Promise<boolean> {
    const output = await this.#families.transact(rotateSealed, keyOf(sealed), {
      ...claim(sealed, now),
      to,
    });
    return output.done === "1";
  }

  /** Records its use. */
  async touch(sealed: Sealed, now: number): Promise<void> {
    await this.#families.transact(touchSealed, keyOf(sealed), claim(sealed, now));
  }

  /** Ends the cookie and its rotations. */
  async end(sealed: Sealed, why: "rotated" | "revoked", now: number): Promise<void> {
    await this.#families.transact(endSealed, keyOf(sealed), { why, keep: keepFor(sealed, now) });
  }

  /** Ends all sessions of a user, or of all users, but one. */
  async revoke(user: string, absolute: number, except: string | undefined): Promise<void> {
    await this.index.revoke(user, { except, remember: absolute + MARGIN });
  }
}

function keyOf({ family }: Sealed): string {
  return sha256(family);
}

function claim(
  sealed: Sealed,
  now: number,
): { readonly from: string; readonly first?: string; readonly keep: string } {
  const { handle } = sealed.record;
  return { from: handle, ...(handle === sealed.family && { first: "1" }), keep: keepFor(sealed, now) };
}

/** The end of a family: the absolute end that all its cookies share. */
function keepFor({ record }: Sealed, now: number): string {
  return String(Math.max(0, record.endsAt - now) + MARGIN);
}
