import { HoldfastError } from "../errors.ts";
import type { SessionEvent } from "../session/session_event.ts";
import type { Session } from "../session/session.ts";
import { createSessions } from "../session/create_sessions.ts";
import { check, equal, rejection } from "./_check.ts";
import type { Schema } from "../schema.ts";
import {
  begin,
  counted,
  type Data,
  indexOf,
  keysOf,
  sent,
  sessionStoreOf,
  type SessionSubject,
} from "./_sessions.ts";
import type { Law, StoreSubject } from "./law.ts";

export type { SessionSubject } from "./_sessions.ts";

/**
 * Milliseconds after which a request is certainly later than the end of its session: longer than a call to
 * any engine takes, as what ended during the call counts as ended under way.
 */
const LATER = 1000;

/** A schema that accepts everything; with a schema no request writes unread. */
const accepting: Schema<Data> = {
  "~standard": { validate: (value) => ({ value: value as Data }) },
};

/**
 * The promises of sessions on every engine.
 *
 * @category Laws
 */
export const sessionLaw: readonly Law<StoreSubject<SessionSubject>>[] = [
  {
    name: "a session that was not changed sets no cookie and stores nothing",
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
    name: "a value that one request sets is read by the next one, with its exact type",
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
    name: "a request that only writes to a session revoked meanwhile begins no session and sets no cookie",
    async run({ store, clock, wait }) {
      for (const schema of [undefined, accepting]) {
        const events: SessionEvent[] = [];
        const options = { clock, schema, onEvent: (event: SessionEvent) => events.push(event) };
        const sessions = createSessions<typeof accepting>(store, options);
        for (const revoke of ["logout", "revokeUser", "revokeSession"] as const) {
          const cookie = await begin(sessions, (session) => session.login("ada"));
          const handle = await sessions.open(cookie).handle();
          const slow = [0, 1, 2].map(() => sessions.open(cookie));
          slow[0]!.set("draft", "of ada");
          await wait(5);
          const out = sessions.open(cookie);
          out.revoke();
          if (revoke === "logout") await sessions.commit(out);
          else if (revoke === "revokeUser") await sessions.revokeUser("ada");
          else await sessions.revokeSession("ada", handle);
          await wait(5);
          slow[1]!.set("draft", "of ada");
          equal(await slow[2]!.isNew(), true, "one that looks too late");
          slow[2]!.set("draft", "of ada");
          const before = (await keysOf(store)).length;
          let told = 0;
          for (const session of slow) {
            equal(
              await sessions.commit(session, { onConflict: () => told++ }),
              undefined,
              `no cookie after ${revoke}`,
            );
          }
          equal([told, (await keysOf(store)).length], [3, before], `told and stored after ${revoke}`);
          if (revoke !== "logout") continue;
          await wait(LATER);
          const later = sessions.open(cookie);
          later.set("x", 1);
          const next = sent(await sessions.commit(later));
          equal(await sessions.open(next).data(), { x: 1 }, "a later request begins anew");
        }
        equal(events.filter(({ type }) => type === "conflict").length, 9, "reported");
      }
    },
  },
  {
    name:
      "changes of a request whose session is rotated, or logged in again by the same user, go to its continuation",
    async run({ store, clock, wait }) {
      for (const schema of [undefined, accepting]) {
        const sessions = createSessions<typeof accepting>(store, { clock, schema });
        for (const change of ["rotate", "login"] as const) {
          let cookie = await begin(sessions, (session) => session.login("ada"));
          const writers = [0, 1, 2, 3].map(() => sessions.open(cookie));
          await writers[0]!.data();
          await writers[1]!.update("n", (n) => Number(n ?? 0) + 1);
          await wait(5);
          for (let i = 0; i < 2; i++) {
            const session = sessions.open(cookie);
            if (change === "rotate") session.rotate();
            else session.login("ada");
            session.set("n", 10);
            cookie = sent(await sessions.commit(session));
          }
          await wait(5);
          writers[0]!.set("a", 1);
          writers[2]!.set("b", 2);
          await writers[3]!.update("n", (n) => Number(n ?? 0) + 1);
          let told = 0;
          for (const writer of writers) {
            equal(await sessions.commit(writer, { onConflict: () => told++ }), undefined, "no cookie");
          }
          equal(told, 0, "nothing is lost");
          equal(await sessions.open(cookie).data(), { a: 1, b: 2, n: 12 }, change);
        }
      }
    },
  },
  {
    name:
      "a request never writes into another user's login, nor through the old token into a rotation that preceded it",
    async run({ store, clock, wait }) {
      const sessions = createSessions(store, { clock });
      const old = await begin(sessions, (session) => session.login("ada"));
      const writer = sessions.open(old);
      writer.set("draft", "of ada");
      await wait(5);
      const change = sessions.open(old);
      change.login("bob");
      const bobs = sent(await sessions.commit(change));
      let told = 0;
      const onConflict = () => told++;
      equal(await sessions.commit(writer, { onConflict }), undefined, "no cookie");
      equal([told, await sessions.open(bobs).data()], [1, {}], "another user");
      const rotation = sessions.open(bobs);
      rotation.rotate();
      const rotated = sent(await sessions.commit(rotation));
      await wait(LATER);
      const thief = sessions.open(bobs);
      thief.set("address", "elsewhere");
      equal(await sessions.commit(thief, { onConflict }), undefined, "no cookie");
      equal([told, await sessions.open(rotated).data()], [2, {}], "the old token");
    },
  },
  {
    name: "login changes the token, keeps the data, and ends the old token",
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
    name: "of two parallel rotations one wins, the other sets no cookie, and no change is lost",
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
      const sessions = createSessions(store, { clock, idleTimeout: 500, absoluteTimeout: "1h" });
      const idle = await begin(sessions, (session) => session.set("x", 1));
      const active = await begin(sessions, (session) => session.set("x", 1));
      for (let i = 0; i < 3; i++) {
        await wait(200);
        const session = sessions.open(active);
        equal(await session.get("x"), 1, "still there");
        await sessions.commit(session);
      }
      equal(await sessions.open(idle).isNew(), true, "the idle one");
      equal(await sessions.open(active).isNew(), false, "the active one");
      const short = createSessions(store, { clock, absoluteTimeout: 500 });
      const first = await begin(short, (session) => session.set("x", 1));
      const rotation = short.open(first);
      rotation.rotate();
      const rotated = sent(await short.commit(rotation));
      for (let i = 0; i < 3; i++) {
        await wait(180);
        const session = short.open(rotated);
        session.set("n", i);
        await short.commit(session);
      }
      equal(await short.open(rotated).isNew(), true, "neither rotating nor writing extends it");
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
      const found = await sessionStoreOf(store).load(keys[0]!);
      check(found.state === "live" && !JSON.stringify(found).includes(token), "no record holds the token");
      equal((await indexOf(store).read("ada")).entries, [], "no key is the user");
    },
  },
  {
    name: "a change after the commit throws, as no request would ever see it",
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
    name: "a failed request stores no data, but its revocation takes effect",
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
    name: "a flash value is taken once, also by a request that sets another one for the next",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const cookie = await begin(sessions, (session) => session.flash("note", "first"));
      const session = sessions.open(cookie);
      equal(await session.takeFlash("note"), "first", "the first look");
      session.flash("note", "second");
      equal(await session.takeFlash("note"), undefined, "the second look");
      await sessions.commit(session);
      const next = sessions.open(cookie);
      next.flash("note", "third");
      equal(await next.takeFlash("note"), "second", "what was there before");
      equal(await next.takeFlash("note"), undefined, "once");
      await sessions.commit(next);
      equal(await sessions.open(cookie).takeFlash("note"), "third", "what was set is kept");
    },
  },
  {
    name: "updates of one request that run at once all count",
    async run({ store, clock }) {
      for (const schema of [undefined, accepting]) {
        const sessions = createSessions(store, { clock, schema });
        const cookie = await begin(sessions, (session) => session.set("cart", ["rope"]));
        const session = sessions.open(cookie);
        const add = (item: string) => session.update("cart", (cart) => [...cart as readonly string[], item]);
        const answers = await Promise.all(["axe", "lamp", "map"].map(add));
        equal(answers.map((cart) => (cart as string[]).length).sort(), [2, 3, 4], "each has the ones before");
        await sessions.commit(session);
        const cart = await sessions.open(cookie).get("cart") as string[];
        equal(cart.toSorted(), ["axe", "lamp", "map", "rope"], "the cart");
      }
    },
  },
  {
    name:
      "store calls: an anonymous request none, a read one, a read and a write two, a write one, a logout one",
    async run({ store: subject, clock }) {
      const { store, calls } = counted(subject);
      const sessions = createSessions(store, { clock });
      const request = async (cookie: string | null, work: (session: Session<Data>) => unknown) => {
        const session = sessions.open(cookie);
        await work(session);
        const answer = await sessions.commit(session);
        return { answer, calls: calls().length };
      };
      equal(await request(null, (s) => s.data()), { answer: undefined, calls: 0 }, "anonymous");
      const cookie = await begin(sessions, (session) => session.login("ada"));
      calls();
      equal(await request(cookie, () => {}), { answer: undefined, calls: 0 }, "not asked for");
      equal(await request(cookie, (s) => s.data()), { answer: undefined, calls: 1 }, "read");
      const both = (session: Session<Data>) => session.update("n", (n) => 1 + Number(n ?? 0));
      equal(await request(cookie, both), { answer: undefined, calls: 2 }, "read and write");
      equal(await request(cookie, (s) => s.set("x", 1)), { answer: undefined, calls: 1 }, "write unread");
      equal((await request(cookie, (s) => s.revoke())).calls, 1, "logout");
    },
  },
  {
    name: "a session in use is touched and compared with the epochs once per touchEvery, no more",
    async run({ store: subject, wait, clock }) {
      const { store, calls } = counted(subject);
      const sessions = createSessions(store, { clock, touchEvery: 500 });
      const cookie = await begin(sessions, (session) => session.login("ada"));
      for (let i = 0; i < 3; i++) await wait(180);
      calls();
      const later: Promise<unknown>[] = [];
      for (let i = 0; i < 2; i++) {
        const session = sessions.open(cookie);
        await session.data();
        await sessions.commit(session, { waitUntil: (work) => later.push(work) });
        await Promise.all(later);
        equal([...calls()].sort(), i === 0 ? ["load", "read", "read", "save"] : ["load"], `request ${i}`);
      }
      equal(later.length, 1, "only the touch outlives its response");
    },
  },
  {
    name: "update() is computed again when another request changed the session first",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const cookie = await begin(sessions, (session) => session.set("n", 0));
      const results = await Promise.all(Array.from({ length: 8 }, async () => {
        const session = sessions.open(cookie);
        const result = await session.update("n", (n) => Number(n) + 1);
        session.unset("unrelated");
        await sessions.commit(session);
        return result;
      }));
      equal(await sessions.open(cookie).get("n"), 8, "every one counted");
      check(results.every((result) => Number(result) >= 1), "each saw a value of its own");
      const own = sessions.open(cookie);
      own.set("n", 100);
      equal(await own.update("n", (n) => Number(n) + 1), 101, "on its own value");
      equal(await own.update("m", () => undefined), undefined, "to nothing");
      await sessions.commit(own);
      equal(await sessions.open(cookie).data(), { n: 101 }, "data");
    },
  },
  {
    name: "a request late for a rotation gets no cookie that would overwrite the new one",
    async run({ store, clock, wait }) {
      const events: SessionEvent[] = [];
      const sessions = createSessions(store, { clock, onEvent: (event) => events.push(event) });
      const cookie = await begin(sessions, (session) => session.login("ada"));
      const rotation = sessions.open(cookie);
      rotation.rotate();
      const next = sent(await sessions.commit(rotation));
      await wait(LATER);
      for (const read of [false, true]) {
        const late = sessions.open(cookie);
        if (read) equal(await late.isNew(), true, "no session any more");
        late.set("x", 1);
        equal(await sessions.commit(late), undefined, "no cookie");
      }
      equal(events.filter(({ type }) => type === "conflict").length, 2, "reported");
      const again = sessions.open(cookie);
      again.rotate();
      equal(await sessions.commit(again), undefined, "nor for a late rotation");
      equal(await sessions.open(next).userId(), "ada", "the new one lives");
    },
  },
  {
    name: "a login succeeds although the session of its request was rotated meanwhile",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const cookie = await begin(sessions, (session) => session.set("x", 1));
      const [rotation, login] = [sessions.open(cookie), sessions.open(cookie)];
      await Promise.all([rotation.data(), login.data()]);
      rotation.rotate();
      await sessions.commit(rotation);
      login.login("ada");
      const after = sent(await sessions.commit(login));
      equal(await sessions.open(after).userId(), "ada", "although another rotated it away");
      const late = sessions.open(cookie);
      late.login("ada");
      check(await sessions.open(sent(await sessions.commit(late))).userId() === "ada", "and after that");
    },
  },
  {
    name: "a login starts a new absolute timeout",
    async run({ store, wait, clock }) {
      const sessions = createSessions(store, { clock, absoluteTimeout: 600 });
      const cookie = await begin(sessions, (session) => session.set("x", 1));
      for (let i = 0; i < 2; i++) await wait(180);
      const login = sessions.open(cookie);
      login.login("ada");
      const after = sent(await sessions.commit(login));
      for (let i = 0; i < 2; i++) await wait(150);
      equal(await sessions.open(after).userId(), "ada", "longer than the old one would have lived");
      for (let i = 0; i < 2; i++) await wait(180);
      equal(await sessions.open(after).isNew(), true, "but no longer than one life");
    },
  },
  {
    name: "a failed request logs no user in",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const fresh = sessions.open(null);
      fresh.login("ada");
      equal(await sessions.commit(fresh, { failed: true }), undefined, "no cookie");
      const cookie = await begin(sessions, (session) => session.set("x", 1));
      const session = sessions.open(cookie);
      session.login("ada");
      const rotated = sent(await sessions.commit(session, { failed: true }));
      equal(await sessions.open(rotated).userId(), undefined, "rotated, not logged in");
      equal(await sessions.listSessions("ada"), [], "listed");
    },
  },
  {
    name: "a CSRF token is bound to the session and changes with its token",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const first = sessions.open(null);
      const token = await first.csrfToken();
      const cookie = sent(await sessions.commit(first));
      equal(await sessions.open(cookie).verifyCsrfToken(token), true, "its own");
      const again = await sessions.open(cookie).csrfToken();
      check(again !== token, "another text each time");
      equal(await sessions.open(cookie).verifyCsrfToken(again), true, "and good as well");
      for (
        const wrong of [undefined, "", token.slice(1), token.slice(1) + "-", "A".repeat(86), token + token]
      ) {
        equal(await sessions.open(cookie).verifyCsrfToken(wrong), false, "another");
      }
      equal(await sessions.open(null).verifyCsrfToken(token), false, "without a session");
      const login = sessions.open(cookie);
      login.login("ada");
      const next = await login.csrfToken();
      const after = sent(await sessions.commit(login));
      check(next !== token, "changed");
      equal(await sessions.open(after).verifyCsrfToken(token), false, "the old one");
      equal(await sessions.open(after).verifyCsrfToken(next), true, "the new one");
    },
  },
  {
    name: "data of another version is migrated, written with the next change, and never twice",
    async run({ store, clock }) {
      const events: SessionEvent[] = [];
      const old = createSessions(store, { clock });
      const cookie = await begin(old, (session) => {
        session.set("name", "ada lovelace");
        session.flash("note", "kept");
        session.login("ada");
      });
      const sessions = createSessions(store, {
        clock,
        version: 2,
        migrate({ name, ...rest }, from) {
          check(from === 1, "from version 1");
          const [first, last] = String(name).split(" ");
          return { ...rest, first, last };
        },
        onEvent: (event) => events.push(event),
      });
      const reader = sessions.open(cookie);
      equal(await reader.data(), { first: "ada", last: "lovelace" }, "read");
      equal(await sessions.commit(reader), undefined, "nothing to say");
      await Promise.all(["a", "b"].map(async (key) => {
        const session = sessions.open(cookie);
        await session.data();
        session.set(key, key);
        await sessions.commit(session);
      }));
      const after = sessions.open(cookie);
      equal(await after.data(), { a: "a", b: "b", first: "ada", last: "lovelace" }, "written");
      equal([await after.takeFlash("note"), await after.userId()], ["kept", "ada"], "the rest");
      check(events.some(({ type }) => type === "migrated"), "reported");
    },
  },
  {
    name: "data that cannot be migrated begins a fresh session, with an event",
    async run({ store, clock }) {
      const events: SessionEvent[] = [];
      const cookie = await begin(createSessions(store, { clock }), (session) => session.set("x", 1));
      const sessions = createSessions(store, {
        clock,
        version: 2,
        migrate: () => {
          throw new Error("no");
        },
        onEvent: (event) => events.push(event),
      });
      const session = sessions.open(cookie);
      equal(await session.data(), {}, "fresh");
      session.set("y", 1);
      check(sent(await sessions.commit(session)) !== cookie, "a new token");
      equal(events[0]?.type, "schema-mismatch", "reported");
    },
  },
  {
    name:
      "a migrate that returns no object, as an async one does, is an error that leaves the session as it is",
    async run({ store, clock }) {
      const old = createSessions(store, { clock });
      const cookie = await begin(old, (session) => session.set("x", 1));
      const wrong = [
        () => Promise.resolve({ y: 1 }),
        () => Promise.reject(new Error("later")),
        () => [1],
        () => null,
        () => "text",
      ];
      for (const migrate of wrong) {
        const sessions = createSessions(store, { clock, version: 2, migrate: migrate as never });
        const session = sessions.open(cookie);
        const error = await rejection(() => session.get("x"), "read");
        check(error instanceof TypeError && error.message.includes("'migrate'"), "the option is named");
        session.set("z", 1);
        await rejection(() => sessions.commit(session), "written");
      }
      equal(await old.open(cookie).data(), { x: 1 }, "untouched");
    },
  },
  {
    name: "the schema version never decreases: an earlier version of the application writes nothing",
    async run({ store, clock }) {
      const events: SessionEvent[] = [];
      // Run twice on the same data it would leave nothing of the money.
      const migrate = ({ dollars, ...rest }: Data) => ({ ...rest, cents: Number(dollars ?? 0) * 100 });
      const onEvent = (event: SessionEvent) => events.push(event);
      const old = createSessions(store, { clock, onEvent });
      const later = createSessions(store, { clock, version: 2, migrate });
      const cookie = await begin(old, (session) => session.set("dollars", 5));
      const raising = later.open(cookie);
      equal(await raising.data(), { cents: 500 }, "migrated");
      raising.set("x", 1);
      await later.commit(raising);
      const refused = async (run: () => Promise<unknown>, what: string) => {
        const error = await rejection(run, what);
        check(error instanceof HoldfastError && error.code === "schema-mismatch", `${what}: its code`);
        check(error instanceof HoldfastError && error.retryable, `${what}: retryable, as in an outage`);
      };
      await refused(() => old.open(cookie).data(), "read by version 1");
      const unread = old.open(cookie);
      unread.set("dollars", 7);
      await refused(() => old.commit(unread), "written by version 1 without having read");
      check(events.some(({ type }) => type === "newer-version"), "reported");
      equal(await later.open(cookie).data(), { cents: 500, x: 1 }, "untouched, and not migrated twice");
      const logout = old.open(cookie);
      logout.revoke();
      await old.commit(logout);
      equal(await later.open(cookie).isNew(), true, "a logout needs no version");
    },
  },
  {
    name: "an instance that cannot migrate leaves the schema version as it is",
    async run({ store, clock }) {
      const cookie = await begin(createSessions(store, { clock }), (session) => session.set("dollars", 5));
      const without = createSessions(store, { clock, version: 2 }); // neither migrate nor a schema
      const writer = without.open(cookie);
      equal(await writer.get("dollars"), 5, "read as it is");
      writer.set("x", 1);
      await without.commit(writer);
      const rotation = without.open(cookie);
      rotation.rotate();
      const rotated = sent(await without.commit(rotation));
      const migrating = createSessions(store, {
        clock,
        version: 3,
        migrate: ({ dollars, ...rest }, from) => ({ ...rest, cents: Number(dollars) * 100, from }),
      });
      equal(await migrating.open(rotated).data(), { cents: 500, from: 1, x: 1 }, "still of version 1");
    },
  },
  {
    name: "a login over another user's session begins empty",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const adas = await begin(sessions, (session) => {
        session.login("ada");
        session.set("secret", "of ada");
        session.flash("note", "for ada");
      });
      const login = sessions.open(adas);
      await login.update("derived", () => "nothing yet");
      const copied = await login.update("secret", (secret) => `${secret}, read`);
      equal(copied, "of ada, read", "before the login it is ada's");
      login.set("own", 1);
      login.login("bob");
      equal(await login.data(), { own: 1 }, "what the request sees from then on");
      equal(await login.takeFlash("note"), undefined, "flash");
      const bobs = sent(await sessions.commit(login));
      const session = sessions.open(bobs);
      equal([await session.userId(), await session.data()], ["bob", { own: 1 }], "what bob has");
      equal(await session.takeFlash("note"), undefined, "flash in the next request");
      const again = sessions.open(bobs);
      again.login("bob");
      const same = sent(await sessions.commit(again));
      equal(await sessions.open(same).data(), { own: 1 }, "the same user's login keeps it");
    },
  },
  {
    name: "after a revocation a login begins another session, and any other change throws",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const cookie = await begin(sessions, (session) => {
        session.login("ada");
        session.set("x", 1);
      });
      const session = sessions.open(cookie);
      session.set("before", 1);
      session.revoke();
      equal([await session.isNew(), await session.userId(), await session.get("x")], [
        true,
        undefined,
        undefined,
      ], "it reads as a new one");
      const changes: Record<string, () => unknown> = {
        set: () => session.set("x", 2),
        unset: () => session.unset("x"),
        update: () => session.update("x", () => 2),
        flash: () => session.flash("note", "lost"),
        rotate: () => session.rotate(),
        handle: () => session.handle(),
        csrfToken: () => session.csrfToken(),
      };
      for (const [name, change] of Object.entries(changes)) {
        const error = await rejection(async () => await change(), name);
        check(error instanceof TypeError, `${name}() throws a TypeError`);
      }
      session.login("bob");
      session.set("after", 1);
      const next = sent(await sessions.commit(session));
      equal(await sessions.open(cookie).isNew(), true, "ada's session is gone");
      equal(
        [await sessions.open(next).userId(), await sessions.open(next).data()],
        ["bob", { after: 1 }],
        "bob's",
      );
      const failed = sessions.open(next);
      failed.revoke();
      failed.login("ada");
      check(
        sent(await sessions.commit(failed, { failed: true })).endsWith("="),
        "a failed request only logs out",
      );
      equal(await sessions.open(next).isNew(), true, "gone as well");
    },
  },
  {
    name:
      "of several cookies the one with a live session counts, of several live ones none, and a login ends all",
    async run({ store, clock }) {
      const events: SessionEvent[] = [];
      const sessions = createSessions(store, { clock, onEvent: (event) => events.push(event) });
      const [ada, eve] = [
        await begin(sessions, (session) => session.login("ada")),
        await begin(sessions, (session) => session.login("eve")),
      ];
      const dead = `${sessions.cookieName}=${"B".repeat(43)}`;
      for (const header of [`${dead}; ${ada}`, `${ada}; ${dead}`, `${ada}; ${ada}`]) {
        equal(await sessions.open(header).userId(), "ada", "a dead one hides nothing");
      }
      for (const header of [`${eve}; ${ada}`, `${ada}; ${eve}`]) {
        equal(await sessions.open(header).userId(), undefined, "a planted one logs in no one");
      }
      equal(events.filter(({ type }) => type === "duplicate-cookie").length, 4, "reported");
      const login = sessions.open(`${eve}; ${ada}`);
      login.login("ada");
      const next = sent(await sessions.commit(login));
      equal(await sessions.open(`${eve}; ${next}`).userId(), "ada", "a login ends what was planted");
      const logout = sessions.open(`${dead}; ${next}`);
      logout.revoke();
      await sessions.commit(logout);
      equal(await sessions.open(next).isNew(), true, "a logout ends all that the request carries");
    },
  },
  {
    name: "a token of one cookie is not accepted under another cookie's name, although both share the store",
    async run({ store, clock }) {
      const users = createSessions(store, { clock, cookie: { name: "__Host-user" } });
      const admins = createSessions(store, { clock, cookie: { name: "__Host-admin" } });
      const cookie = await begin(users, (session) => session.login("ada"));
      const swapped = cookie.replace("__Host-user", "__Host-admin");
      equal(await admins.open(swapped).isNew(), true, "the user's token is no admin's");
      const unread = admins.open(swapped);
      unread.set("x", 1);
      await admins.commit(unread);
      equal(await users.open(cookie).get("x"), undefined, "and changes nothing of the user's");
    },
  },
  {
    name: "a session is fresh for the requested time after a login, and only then",
    async run({ store, wait, clock }) {
      const sessions = createSessions(store, { clock });
      equal(await sessions.open(null).isFresh("1m"), false, "without a login");
      const cookie = await begin(sessions, (session) => session.login("ada"));
      equal(await sessions.open(cookie).isFresh("1m"), true, "just now");
      await wait(60);
      equal(await sessions.open(cookie).isFresh(50), false, "some time ago");
      const again = sessions.open(cookie);
      again.rotate();
      const rotated = sent(await sessions.commit(again));
      equal(await sessions.open(rotated).isFresh(50), false, "rotating is no login");
      equal(await sessions.open(rotated).isFresh("1m"), true, "and forgets none");
    },
  },
];
