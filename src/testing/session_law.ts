import { HoldfastError } from "../errors.ts";
import type { Session } from "../session/session.ts";
import { atomicSessionStore } from "../session/atomic_session_store.ts";
import type { SessionEvent } from "../session/session_event.ts";
import type { IndexedSessionStore } from "../session/session_store.ts";
import { type Atomic, createSessions, type Sessions } from "../session/sessions.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { check, equal, rejection } from "./_check.ts";
import type { Law, StoreSubject } from "./law.ts";

type Data = Record<string, unknown>;

/** What sessions are proven on: an engine, or a session store of your own. */
export type SessionSubject = AtomicStore | Atomic<IndexedSessionStore>;

function indexOf(store: SessionSubject): IndexedSessionStore["index"] {
  return "transact" in store ? atomicSessionStore(store).index : store.index;
}

/** The keys of all sessions, page by page; an empty page is not the end. */
async function keysOf(store: SessionSubject): Promise<string[]> {
  const keys: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await indexOf(store).keys({ cursor });
    keys.push(...page.keys);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return keys;
}

/** The Cookie header a browser would send after this Set-Cookie. */
function sent(setCookie: string | undefined): string {
  check(setCookie !== undefined, "a cookie was set");
  return setCookie.split(";")[0]!;
}

async function begin(sessions: Sessions<Data>, change: (session: Session<Data>) => void): Promise<string> {
  const session = sessions.open(null);
  change(session);
  return sent(await sessions.commit(session));
}

/** What sessions promise on every engine. */
export const sessionLaw: readonly Law<StoreSubject<SessionSubject>>[] = [
  {
    name: "a session nobody changed sets no cookie and stores nothing",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const session = sessions.open(null);
      equal(await session.data(), {}, "data");
      equal([await session.isNew(), await session.userId()], [true, undefined], "new");
      equal(await sessions.commit(session), undefined, "commit");
      equal(await keysOf(store), [], "records");
    },
  },
  {
    name: "what one request sets the next one reads, typed values exact",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const cookie = await begin(sessions, (session) => {
        session.set("name", "ada");
        session.set("list", [1, { a: null }]);
        session.set("bytes", new Uint8Array([0, 255]));
        session.set("__proto__", "harmless");
      });
      const next = sessions.open(`other=1; ${cookie}; more=2`);
      equal(await next.get("name"), "ada", "name");
      equal(await next.get("list"), [1, { a: null }], "list");
      equal(await next.get("bytes"), new Uint8Array([0, 255]), "bytes");
      next.unset("name");
      equal(await next.get("name"), undefined, "its own change");
      equal(await sessions.commit(next), undefined, "no new cookie");
      equal(await sessions.open(cookie).get("name"), undefined, "unset");
    },
  },
  {
    name: "parallel requests that change different values lose nothing",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const cookie = await begin(sessions, (session) => session.set("start", 0));
      await Promise.all(["a", "b", "c", "d"].map(async (key) => {
        const session = sessions.open(cookie);
        await session.data();
        session.set(key, key);
        await sessions.commit(session);
      }));
      equal(await sessions.open(cookie).data(), { a: "a", b: "b", c: "c", d: "d", start: 0 }, "data");
    },
  },
  {
    name: "a slow request never revives a session that was revoked",
    async run({ store, clock }) {
      const events: SessionEvent[] = [];
      const sessions = createSessions(store, { clock, onEvent: (event) => events.push(event) });
      const cookie = await begin(sessions, (session) => session.set("x", 1));
      const slow = sessions.open(cookie);
      await slow.data();
      slow.set("x", 2);
      const out = sessions.open(cookie);
      out.revoke();
      check(sent(await sessions.commit(out)).endsWith("="), "the cookie is taken back");
      equal(await sessions.commit(slow), undefined, "the slow one gets no cookie");
      check(events.some(({ type }) => type === "conflict"), "a conflict was reported");
      equal(await sessions.open(cookie).isNew(), true, "it stays dead");
    },
  },
  {
    name: "login changes the token, keeps the data, and kills the old token",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const before = await begin(sessions, (session) => session.set("cart", ["rope"]));
      const login = sessions.open(before);
      login.login("ada");
      const after = sent(await sessions.commit(login));
      check(after !== before, "the token changed");
      equal(await sessions.open(before).isNew(), true, "the old token");
      const session = sessions.open(after);
      equal([await session.get("cart"), await session.userId()], [["rope"], "ada"], "data and user");
      check(typeof await session.authenticatedAt() === "number", "authenticatedAt");
    },
  },
  {
    name: "of two parallel rotations one wins, the other stays silent, and nothing is lost",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const cookie = await begin(sessions, (session) => session.set("x", 1));
      const rotations = [sessions.open(cookie), sessions.open(cookie)];
      for (const session of rotations) await session.data();
      const writer = sessions.open(cookie);
      writer.set("late", true);
      await sessions.commit(writer);
      const cookies = await Promise.all(rotations.map((session) => {
        session.rotate();
        return sessions.commit(session);
      }));
      const won = cookies.filter((value) => value !== undefined);
      equal(won.length, 1, "winners");
      equal(await sessions.open(sent(won[0])).data(), { late: true, x: 1 }, "data");
    },
  },
  {
    name: "an idle session ends, an active one is touched and lives, none outlives its absolute timeout",
    async run({ store, wait, clock }) {
      const sessions = createSessions(store, { clock, idleTimeout: 400, absoluteTimeout: 1000 });
      const idle = await begin(sessions, (session) => session.set("x", 1));
      const active = await begin(sessions, (session) => session.set("n", 0));
      for (let i = 1; i <= 3; i++) {
        await wait(250);
        const session = sessions.open(active);
        equal(await session.get("n"), i - 1, "still there");
        session.set("n", i);
        if (i === 2) session.rotate();
        const cookie = await sessions.commit(session);
        if (i === 2) return await afterRotation(sessions, sent(cookie), idle, wait);
      }
    },
  },
  {
    name: "an id the server did not issue is never adopted, and is reported",
    async run({ store, clock }) {
      const events: SessionEvent[] = [];
      const sessions = createSessions(store, { clock, onEvent: (event) => events.push(event) });
      const planted = `${sessions.cookieName}=${"A".repeat(43)}`;
      const session = sessions.open(planted);
      session.set("x", 1);
      check(sent(await sessions.commit(session)) !== planted, "a token of our own");
      equal(events[0]?.type, "unknown-id", "reported");
      equal(await sessions.open(planted).isNew(), true, "not adopted");
      for (const value of ["", "x".repeat(9000), "%00", "__proto__", "a\r\nb"]) {
        equal(await sessions.open(`${sessions.cookieName}=${value}`).isNew(), true, "nonsense");
      }
    },
  },
  {
    name: "the store never sees a token",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const token = (await begin(sessions, (session) => session.login("ada"))).split("=")[1]!;
      const keys = await keysOf(store);
      equal(keys.length, 1, "sessions");
      check(!keys[0]!.includes(token), "no key holds the token");
      equal((await indexOf(store).read("ada")).entries, [], "no key is the user");
    },
  },
  {
    name: "a change after the commit throws, as nobody would ever see it",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const session = sessions.open(null);
      await sessions.commit(session);
      const error = await rejection(() => Promise.resolve().then(() => session.set("x", 1)), "set");
      check(
        error instanceof HoldfastError && error.code === "session-committed",
        "its code is session-committed",
      );
    },
  },
  {
    name: "a failed request drops its data, while revoking holds",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const cookie = await begin(sessions, (session) => session.set("x", 1));
      const failed = sessions.open(cookie);
      failed.set("x", 2);
      await sessions.commit(failed, { failed: true });
      equal(await sessions.open(cookie).get("x"), 1, "data");
      const revoked = sessions.open(cookie);
      revoked.revoke();
      await sessions.commit(revoked, { failed: true });
      equal(await sessions.open(cookie).isNew(), true, "revoked");
    },
  },
  {
    name: "a flash value is there for one request",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const cookie = await begin(sessions, (session) => session.flash("note", "saved"));
      const first = sessions.open(cookie);
      equal(await first.takeFlash("note"), "saved", "the next request");
      await sessions.commit(first);
      equal(await sessions.open(cookie).takeFlash("note"), undefined, "the one after");
    },
  },
  {
    name: "the sessions of a user are listed and ended, but for the one excepted",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const cookies = await Promise.all(
        Array.from({ length: 20 }, () => begin(sessions, (session) => session.login("ada"))),
      );
      await begin(sessions, (session) => session.login("bob"));
      equal((await sessions.listSessions("ada")).length, 20, "listed");
      const handle = await sessions.open(cookies[0]).handle();
      equal(await sessions.revokeUser("ada", { except: handle }), 19, "ended");
      equal((await sessions.listSessions("ada")).map((session) => session.handle), [handle], "left");
      equal(await sessions.open(cookies[1]).isNew(), true, "an ended one");
      equal((await sessions.listSessions("bob")).length, 1, "another user");
    },
  },
];

/** At 500 ms of 1,000: touched at 500, so not idle before 900; the idle one died at 400; all is over at 1,000. */
async function afterRotation(
  sessions: Sessions<Data>,
  rotated: string,
  idle: string,
  wait: (milliseconds: number) => Promise<void>,
): Promise<void> {
  equal(await sessions.open(idle).isNew(), true, "the idle one");
  await wait(250);
  const session = sessions.open(rotated);
  equal(await session.get("n"), 2, "the rotated one");
  session.set("n", 3);
  await sessions.commit(session);
  await wait(300);
  equal(await sessions.open(rotated).isNew(), true, "rotation does not extend the absolute timeout");
}
