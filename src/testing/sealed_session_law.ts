import type { Session } from "../session/session.ts";
import { createSealedSessions, type RevocableSessions } from "../session/sealed_sessions.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { check, equal } from "./_check.ts";
import { type Data, sent } from "./_sessions.ts";
import type { Law, StoreSubject } from "./law.ts";

type Sealed = RevocableSessions<Data>;

const KEYS = [{ id: "law", secret: "A".repeat(43) }] as const;

async function begin(sessions: Sealed, change: (session: Session<Data>) => void): Promise<string> {
  const session = sessions.open(null);
  change(session);
  return sent(await sessions.commit(session));
}

const login = (sessions: Sealed, userId = "ada") => begin(sessions, (session) => session.login(userId));

/** The cookie after a request that looked at its session first; `undefined` when it was given none. */
async function request(
  sessions: Sealed,
  cookie: string,
  change: (session: Session<Data>) => void,
): Promise<string | undefined> {
  const session = sessions.open(cookie);
  await session.data();
  change(session);
  return (await sessions.commit(session))?.split(";")[0];
}

const rotate = (sessions: Sealed, cookie: string) => request(sessions, cookie, (session) => session.rotate());

const logout = (sessions: Sealed, cookie: string) => request(sessions, cookie, (session) => session.revoke());

async function living(sessions: Sealed, cookies: readonly (string | undefined)[]): Promise<number> {
  const users = await Promise.all(cookies.map((cookie) => sessions.open(cookie).userId()));
  return users.filter((user) => user !== undefined).length;
}

/**
 * The promises of sealed sessions on every engine that remembers their revocations.
 *
 * @category Laws
 */
export const sealedSessionLaw: readonly Law<StoreSubject<AtomicStore>>[] = [
  {
    name: "of parallel rotations of a sealed session one wins, and its session goes on",
    async run({ store, clock }) {
      const sessions = createSealedSessions({ keys: KEYS, clock, revocation: store });
      const cookie = await login(sessions);
      const made = await Promise.all(Array.from({ length: 8 }, () => rotate(sessions, cookie)));
      const won = made.filter((next) => next !== undefined);
      equal(won.length, 1, "winners");
      equal(await living(sessions, [cookie, ...made]), 1, "alive");
      check(await rotate(sessions, won[0]!) !== undefined, "it rotates again");
    },
  },
  {
    name: "a logout ends a sealed session and all its rotations, earlier and concurrent ones",
    async run({ store, clock }) {
      const sessions = createSealedSessions({ keys: KEYS, clock, revocation: store });
      const first = await login(sessions);
      const second = await rotate(sessions, first);
      const third = await rotate(sessions, second!);
      await logout(sessions, first);
      equal(await living(sessions, [first, second, third]), 0, "rotations before it");
      for (let i = 0; i < 5; i++) {
        const cookie = await login(sessions);
        const made = await Promise.all([
          rotate(sessions, cookie),
          request(sessions, cookie, (session) => session.set("x", i)),
          logout(sessions, cookie),
        ]);
        equal(
          await living(sessions, [cookie, ...made.filter((next) => !next?.endsWith("="))]),
          0,
          "beside it",
        );
      }
    },
  },
  {
    name: "revocations of sealed sessions depend on the store's clock alone",
    async run({ store, clock }) {
      for (const skew of [-5_000, 5_000]) {
        const now = () => (clock?.now() ?? Date.now()) + skew;
        const own = { now, monotonic: now, sleep: () => Promise.resolve() };
        const sessions = createSealedSessions({ keys: KEYS, clock: own, revocation: store });
        const user = `user:${skew}`;
        const cookies = [await login(sessions, user), await login(sessions, `other of ${user}`)];
        await sessions.revokeUser(user);
        equal(await living(sessions, cookies), 1, "the other user's");
        equal(await living(sessions, [await login(sessions, user)]), 1, "a new login");
        await sessions.revokeAll();
        equal(await living(sessions, cookies), 0, "all of them");
      }
    },
  },
  {
    name:
      "the sealed session that a revocation spares survives rotations and writes, until the next revocation",
    async run({ store, clock }) {
      const sessions = createSealedSessions({ keys: KEYS, clock, revocation: store });
      const [mine, other] = [await login(sessions), await login(sessions)];
      await sessions.revokeUser("ada", { except: await sessions.open(mine).handle() });
      const rotated = await rotate(sessions, mine);
      const written = await request(sessions, rotated!, (session) => session.set("x", 1));
      const again = await rotate(sessions, written!);
      equal([await living(sessions, [again]), await living(sessions, [other])], [1, 0], "alive");
      await sessions.revokeUser("ada");
      equal(await living(sessions, [again]), 0, "after the next revocation");
    },
  },
  {
    name: "reading keeps a sealed session alive without a new cookie; without requests it ends as idle",
    async run({ store, wait, clock }) {
      const options = { keys: KEYS, clock, revocation: store, idleTimeout: 500, touchEvery: 50 } as const;
      const sessions = createSealedSessions(options);
      const cookie = await login(sessions);
      for (let i = 0; i < 4; i++) {
        await wait(200);
        const reader = sessions.open(cookie);
        equal(await reader.userId(), "ada", `request ${i}`);
        equal(await sessions.commit(reader), undefined, "no cookie");
      }
      for (let i = 0; i < 3; i++) await wait(200);
      equal(await living(sessions, [cookie]), 0, "idle");
    },
  },
  {
    name:
      "a request that writes while its sealed session is revoked or rotated is refused, and seals no cookie",
    async run({ store, clock, wait }) {
      const sessions = createSealedSessions({ keys: KEYS, clock, revocation: store });
      const ends = ["logout", "revokeUser", "revokeAll", "rotate"] as const;
      for (const [end, reads] of ends.flatMap((end) => [[end, false], [end, true]] as const)) {
        const cookie = await login(sessions);
        const slow = sessions.open(cookie);
        if (reads) await slow.data();
        await wait(5);
        if (end === "logout") await logout(sessions, cookie);
        else if (end === "revokeUser") await sessions.revokeUser("ada");
        else if (end === "revokeAll") await sessions.revokeAll();
        else await rotate(sessions, cookie);
        slow.set("draft", "of ada");
        let told = 0;
        const what = `${end} and ${reads ? "a read before it" : "no read"}`;
        equal(
          await sessions.commit(slow, { onConflict: () => told++ }),
          undefined,
          `no cookie after ${what}`,
        );
        equal(told, 1, `told after ${what}`);
      }
      const cookie = await login(sessions);
      await logout(sessions, cookie);
      await wait(1000); // longer than a call to any engine takes
      const later = sessions.open(cookie);
      later.set("x", 1);
      equal(
        await sessions.open(sent(await sessions.commit(later))).data(),
        { x: 1 },
        "a later request begins anew",
      );
    },
  },
];
