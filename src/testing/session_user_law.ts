import { HoldfastError } from "../errors.ts";
import { sha256 } from "../secret.ts";
import type { SessionEvent } from "../session/session_event.ts";
import { createSessions } from "../session/create_sessions.ts";
import type { Sessions } from "../session/sessions.ts";
import { check, equal, rejection } from "./_check.ts";
import { begin, counted, type Data, indexOf, sent, type SessionSubject } from "./_sessions.ts";
import type { Law, StoreSubject } from "./law.ts";

const login = (sessions: Sessions<Data>, userId = "ada") =>
  begin(sessions, (session) => session.login(userId));

const alive = async (sessions: Sessions<Data>, cookie: string) => !await sessions.open(cookie).isNew();

/**
 * The promises of sessions about users on every engine.
 *
 * @category Laws
 */
export const sessionUserLaw: readonly Law<StoreSubject<SessionSubject>>[] = [
  {
    name: "20 concurrent logins list 20 sessions, and all but the excepted one end",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const cookies = await Promise.all(Array.from({ length: 20 }, () => login(sessions)));
      await login(sessions, "bob");
      equal((await sessions.listSessions("ada")).length, 20, "listed");
      const handle = await sessions.open(cookies[0]).handle();
      equal(await sessions.revokeUser("ada", { except: handle }), 19, "ended");
      equal((await sessions.listSessions("ada")).map((session) => session.handle), [handle], "left");
      equal([await alive(sessions, cookies[0]!), await alive(sessions, cookies[1]!)], [true, false], "alive");
      equal((await sessions.listSessions("bob")).length, 1, "another user");
    },
  },
  {
    name: "a list shows live sessions only: none that was logged out, ended or rotated",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const [out, ended, rotated] = await Promise.all([1, 2, 3].map(() => login(sessions)));
      const logout = sessions.open(out);
      logout.revoke();
      await sessions.commit(logout);
      const handle = await sessions.open(ended).handle();
      equal(await sessions.revokeSession("bob", handle), false, "not bob's to end");
      equal(await sessions.revokeSession("ada", handle), true, "ended");
      equal(await sessions.revokeSession("ada", handle), false, "once");
      const rotation = sessions.open(rotated);
      rotation.rotate();
      const next = sessions.open(sent(await sessions.commit(rotation)));
      const listed = await sessions.listSessions("ada");
      equal(listed.map((session) => session.handle), [await next.handle()], "listed");
      equal(typeof listed[0]!.authenticatedAt, "number", "authenticatedAt");
    },
  },
  {
    name: "a user's revocation holds although the index was lost, after touchEvery at the latest",
    async run({ store, wait, clock }) {
      const events: SessionEvent[] = [];
      const sessions = createSessions(store, {
        clock,
        touchEvery: 50,
        onEvent: (event) => events.push(event),
      });
      const cookies = [await login(sessions), await login(sessions), await login(sessions, "bob")];
      const index = indexOf(store);
      for (const entry of (await index.read(await sha256("ada"))).entries) {
        await index.remove(await sha256("ada"), entry.handle);
      }
      equal(await sessions.revokeUser("ada"), 0, "nothing to follow");
      await wait(60);
      equal(
        await Promise.all(cookies.map((cookie) => alive(sessions, cookie))),
        [false, false, true],
        "alive",
      );
      equal(events.filter(({ type }) => type === "revoked").length, 2, "reported");
      equal(await alive(sessions, await login(sessions)), true, "a new login");
    },
  },
  {
    name: "a revoked session without an entry in the index cannot be rotated",
    async run({ store, wait, clock }) {
      const sessions = createSessions(store, { clock });
      const cookie = await login(sessions);
      const index = indexOf(store);
      const [entry] = (await index.read(await sha256("ada"))).entries;
      await index.remove(await sha256("ada"), entry!.handle);
      await wait(5);
      await sessions.revokeUser("ada");
      const rotation = sessions.open(cookie);
      rotation.rotate();
      check(sent(await sessions.commit(rotation)).endsWith("="), "the cookie is taken back");
      equal(await sessions.listSessions("ada"), [], "none");
      equal(await alive(sessions, cookie), false, "alive");
    },
  },
  {
    name: "the session spared by a revocation may rotate and lives on",
    async run({ store, wait, clock }) {
      const sessions = createSessions(store, { clock, touchEvery: 20 });
      const [mine, other] = [await login(sessions), await login(sessions)];
      const except = await sessions.open(mine).handle();
      await wait(5);
      await sessions.revokeUser("ada", { except });
      const rotation = sessions.open(mine);
      rotation.rotate();
      const next = sent(await sessions.commit(rotation));
      await wait(30);
      equal([await alive(sessions, next), await alive(sessions, other)], [true, false], "alive");
    },
  },
  {
    name: "revoking a user ends a concurrent login, or lists it",
    async run({ store, clock }) {
      for (let moment = 0; moment < 6; moment++) {
        const user = `user:${moment}`;
        const { store: slow, calls } = counted(store);
        const sessions = createSessions(slow, { clock });
        // The revocation comes when the login has made so many calls.
        let revoked: Promise<number> | undefined;
        const others = createSessions(store, { clock });
        const hooked = new Proxy(slow, {
          get(target, name) {
            const value = Reflect.get(target, name);
            if (typeof value !== "function") return value;
            return async (...args: unknown[]) => {
              if (name === "save" && moment % 2 === 0) await (revoked ??= others.revokeUser(user));
              const answer = await value.apply(target, args);
              if (name === "save" && moment % 2 === 1) await (revoked ??= others.revokeUser(user));
              return answer;
            };
          },
        });
        const racing = createSessions(hooked, { clock });
        const session = racing.open(null);
        session.login(user);
        const cookie = await racing.commit(session).catch((error) => {
          check(error instanceof HoldfastError && error.code === "session-unavailable", "its code");
          return undefined;
        });
        await revoked;
        const listed = await sessions.listSessions(user);
        if (cookie === undefined) equal(listed, [], "beaten");
        else equal(await alive(sessions, sent(cookie)), listed.length === 1, "alive if listed");
        calls();
      }
      const sessions = createSessions(store, { clock });
      const logins = Array.from({ length: 8 }, () => login(sessions).catch(() => undefined));
      const ended = await Promise.all([sessions.revokeUser("ada"), ...logins]);
      let living = 0;
      for (const cookie of ended.slice(1)) {
        if (cookie !== undefined && await alive(sessions, cookie as string)) living++;
      }
      equal((await sessions.listSessions("ada")).length, living, "every living one is listed");
    },
  },
  {
    name: "revokeAll ends the sessions of all users, anonymous ones too, and new ones begin",
    async run({ store, wait, clock }) {
      const sessions = createSessions(store, { clock, touchEvery: 40 });
      const cookies = [
        await login(sessions),
        await login(sessions, "bob"),
        await begin(sessions, (session) => session.set("x", 1)),
      ];
      await wait(5);
      const ended = await sessions.revokeAll();
      check(ended === 3 || ended === 0, "all at once, or none where keys cannot be listed");
      if (ended === 0) await wait(50);
      equal(
        await Promise.all(cookies.map((cookie) => alive(sessions, cookie))),
        [false, false, false],
        "alive",
      );
      equal(await alive(sessions, await login(sessions)), true, "a new one");
    },
  },
  {
    name: "a user has at most the allowed number of sessions: the oldest is ended, or the login is refused",
    async run({ store, wait, clock }) {
      const events: SessionEvent[] = [];
      const onEvent = (event: SessionEvent) => events.push(event);
      const sessions = createSessions(store, { clock, maxSessionsPerUser: 2, onEvent });
      const cookies = [];
      for (let i = 0; i < 3; i++) {
        cookies.push(await login(sessions));
        await wait(5);
      }
      equal(
        await Promise.all(cookies.map((cookie) => alive(sessions, cookie))),
        [false, true, true],
        "alive",
      );
      check(events.some(({ type }) => type === "evicted"), "reported");
      const strict = createSessions(store, {
        clock,
        maxSessionsPerUser: 2,
        whenFull: "reject",
        onEvent,
      });
      const error = await rejection(() => login(strict), "one too many");
      check(error instanceof HoldfastError && error.code === "session-limit", "its code is session-limit");
      const rotation = strict.open(cookies[2]);
      rotation.rotate();
      const rotated = sent(await strict.commit(rotation));
      const again = strict.open(rotated);
      again.login("ada");
      check(await strict.commit(again) !== undefined, "neither rotating nor logging in again is one more");
      const logout = strict.open(cookies[1]);
      logout.revoke();
      await strict.commit(logout);
      check(await alive(strict, await login(strict)), "after a logout there is room");
    },
  },
  {
    name: "logging in as another user removes the session from the previous user's list",
    async run({ store, clock }) {
      const sessions = createSessions(store, { clock });
      const session = sessions.open(await login(sessions));
      session.login("bob");
      const cookie = sent(await sessions.commit(session));
      equal(await sessions.open(cookie).userId(), "bob", "user");
      equal(
        [(await sessions.listSessions("ada")).length, (await sessions.listSessions("bob")).length],
        [0, 1],
        "listed",
      );
    },
  },
];
