import type { SessionIndex, UserSessions } from "../session/session_store.ts";
import { check, equal } from "./_check.ts";
import type { Law, StoreSubject } from "./law.ts";

/** Far enough away for every law; a real clock stands behind most stores. */
const entry = (handle: string, endsAt = 8_000_000_000_000) => ({ handle, key: `key-of-${handle}`, endsAt });

const handles = ({ entries }: UserSessions) => entries.map(({ handle }) => handle).sort();

async function add(index: SessionIndex, handle: string): Promise<number> {
  const added = await index.add("ada", entry(handle));
  check(added.state === "added", "it is added");
  return added.bornAt;
}

/**
 * The promises of every {@linkcode SessionIndex} of an atomic store.
 *
 * @category Laws
 */
export const sessionIndexLaw: readonly Law<StoreSubject<SessionIndex>>[] = [
  {
    name: "nothing is known about a user who never logged in",
    async run({ store: index }) {
      equal(await index.read("ada"), { epoch: 0, entries: [] }, "read");
      await index.remove("ada", "a");
      equal(await index.read("ada"), { epoch: 0, entries: [] }, "after removing nothing");
    },
  },
  {
    name: "entries come back as they were added, oldest first, until they are removed",
    async run({ store: index, wait }) {
      const born = await add(index, "a");
      await wait(5);
      await add(index, "b");
      await add(index, "b");
      const { entries } = await index.read("ada");
      equal(entries.map(({ listedAt: _, ...rest }) => rest), [entry("a"), entry("b")], "entries");
      equal(entries[0]!.listedAt, born, "a first session is born when it is listed");
      await index.remove("ada", "a");
      equal(handles(await index.read("ada")), ["b"], "after removing");
      equal(handles(await index.read("bob")), [], "another user");
    },
  },
  {
    name: "parallel additions lose no entry and never exceed the limit",
    async run({ store: index }) {
      const names = Array.from({ length: 20 }, (_, i) => `h${i}`);
      await Promise.all(names.map((handle) => add(index, handle)));
      equal(handles(await index.read("ada")), [...names].sort(), "entries");
      const more = await Promise.all(
        Array.from({ length: 10 }, (_, i) => index.add("ada", entry(`more${i}`), { limit: 23 })),
      );
      equal(more.filter(({ state }) => state === "added").length, 3, "added");
      const full = more.find((added) => added.state === "full");
      check(full?.state === "full" && full.entries.length >= 23, "the others get the list");
    },
  },
  {
    name: "a session that continues another takes its place under the limit",
    async run({ store: index }) {
      const bornAt = await add(index, "a");
      const continues = { handle: "a", bornAt };
      equal(await index.add("ada", entry("b"), { limit: 1, continues }), { state: "added", bornAt }, "b");
    },
  },
  {
    name: "a revocation makes earlier sessions stale, except the spared one, and no later session",
    async run({ store: index }) {
      const [a, b] = [await add(index, "a"), await add(index, "b")];
      const revoked = await index.revoke("ada", { except: "b", remember: 60_000 });
      equal(handles(revoked), ["a", "b"], "where they are");
      check(revoked.epoch > a && revoked.epoch > b, "the epoch is later");
      equal(revoked.spared, "b", "spared");
      const next = (handle: string, bornAt: number) =>
        index.add("ada", entry(`${handle}2`), { continues: { handle, bornAt } });
      equal(await next("a", a), { state: "stale" }, "a is stale");
      equal((await next("b", b)).state, "added", "b is spared");
      check(await add(index, "c") >= revoked.epoch, "a new login is born after");
      const again = await index.revoke("ada", { remember: 60_000 });
      check(again.epoch > revoked.epoch && again.spared === undefined, "again, sparing none");
    },
  },
  {
    name: "an epoch from another store is taken over unchanged if it is later",
    async run({ store: index }) {
      const bornAt = await add(index, "a");
      const epoch = bornAt + 100_000;
      const take = (epoch: number) => index.revoke("ada", { epoch, except: "a", remember: 1_000_000 });
      equal((await take(epoch)).epoch, epoch, "taken over");
      equal((await take(epoch - 1)).epoch, epoch, "an earlier one changes nothing");
      const { epoch: known, spared, entries } = await index.read("ada");
      equal([known, spared, entries.length], [epoch, "a", 1], "read");
    },
  },
  {
    name: "an epoch is remembered for the requested time, with or without entries",
    async run({ store: index, wait }) {
      const { epoch } = await index.revoke("ada", { remember: 500 });
      await wait(100);
      equal((await index.read("ada")).epoch, epoch, "remembered");
      for (let i = 0; i < 3; i++) await wait(150);
      equal((await index.read("ada")).epoch, 0, "forgotten");
    },
  },
  {
    name: "a concurrent login and revocation have one order, and both results agree with it",
    async run({ store: index }) {
      for (let i = 0; i < 10; i++) {
        const [bornAt, revoked] = await Promise.all([
          add(index, `h${i}`),
          index.revoke("ada", { remember: 60_000 }),
        ]);
        const listed = handles(revoked).includes(`h${i}`);
        equal(bornAt < revoked.epoch, listed, "listed if it was born before");
      }
    },
  },
];
