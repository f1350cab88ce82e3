import {
  abandonClaim,
  beginClaim,
  completeClaim,
  extendClaim,
  readClaim,
} from "../idempotency/idempotency_transitions.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { Fields, Transition } from "../store/transition.ts";
import { equal } from "./_check.ts";
import type { Law, StoreSubject } from "./law.ts";

type Call = readonly [Transition, Fields];

/** Long enough for the slowest engine to play all histories. */
const LEASE = 30_000;
const begin = (owner: string, claim = owner, lease = LEASE): Call => [
  beginClaim,
  { owner, claim, lease: String(lease), retention: "60000" },
];
const complete = (owner: string, response = owner): Call => [
  completeClaim,
  { owner, claim: owner, attempt: "1", retention: "60000", response },
];
const abandon = (owner: string, claim = owner): Call => [abandonClaim, { owner, claim }];
const extend = (owner: string): Call => [extendClaim, { owner, lease: String(LEASE) }];

/** A history: calls before, the call whose copy arrives, and what others did until the copy came. */
interface History {
  readonly name: string;
  readonly before: readonly Call[];
  readonly call: Call;
  readonly others: readonly Call[];
}

/** Histories in which a copy changes nothing, whenever it comes. */
const HARMLESS: readonly History[] = [
  { name: "begin", before: [], call: begin("a"), others: [] },
  { name: "begin, by then completed", before: [], call: begin("a"), others: [complete("a")] },
  { name: "begin, by then given back", before: [], call: begin("a"), others: [abandon("a")] },
  {
    name: "begin, by then another's",
    before: [],
    call: begin("a"),
    others: [abandon("a"), begin("b")],
  },
  {
    name: "begin, by then another's and completed",
    before: [],
    call: begin("a"),
    others: [abandon("a"), begin("b"), complete("b")],
  },
  { name: "refused begin", before: [begin("b")], call: begin("a"), others: [complete("b")] },
  { name: "complete", before: [begin("a")], call: complete("a"), others: [] },
  { name: "complete after a wipe", before: [], call: complete("a"), others: [begin("b")] },
  { name: "superseded complete", before: [begin("b"), complete("b")], call: complete("a"), others: [] },
  { name: "overtaken complete", before: [begin("b")], call: complete("a"), others: [complete("b")] },
  { name: "abandon", before: [begin("a")], call: abandon("a"), others: [] },
  { name: "abandon, by then another's", before: [begin("a")], call: abandon("a"), others: [begin("b")] },
  {
    name: "abandon, by then the same owner's again",
    before: [begin("a", "1")],
    call: abandon("a", "1"),
    others: [begin("a", "2")],
  },
  {
    name: "abandon of a begin that the same owner repeated",
    before: [begin("a", "1"), begin("a", "2")],
    call: abandon("a", "1"),
    others: [],
  },
  { name: "abandon before its begin", before: [], call: abandon("a"), others: [begin("a")] },
  { name: "abandon of what is done", before: [begin("a"), complete("a")], call: abandon("a"), others: [] },
  { name: "extend", before: [begin("a")], call: extend("a"), others: [] },
  { name: "extend, by then completed", before: [begin("a")], call: extend("a"), others: [complete("a")] },
  { name: "extend, by then given back", before: [begin("a")], call: extend("a"), others: [abandon("a")] },
  {
    name: "extend, by then another's",
    before: [begin("a")],
    call: extend("a"),
    others: [abandon("a"), begin("b")],
  },
  { name: "extend of another's", before: [begin("b")], call: extend("a"), others: [] },
  { name: "read", before: [begin("a")], call: [readClaim, {}], others: [complete("a")] },
];

async function play(store: AtomicStore, key: string, calls: readonly Call[]): Promise<Fields | undefined> {
  let output: Fields | undefined;
  for (const [transition, input] of calls) output = await store.transact(transition, key, input);
  return output && steady(output);
}

/** The output without the rest of a lease, which depends on the moment. */
function steady(output: Fields): Fields {
  return Object.fromEntries(Object.entries(output).filter(([name]) => name !== "remain"));
}

/** The answers to a later caller; also takes a free key, which ends the history. */
async function found(store: AtomicStore, key: string): Promise<readonly Fields[]> {
  return [
    await store.transact(readClaim, key, {}),
    steady(await store.transact(...swapped(begin("stranger"), key))),
  ];
}

function swapped([transition, input]: Call, key: string): [Transition, string, Fields] {
  return [transition, key, input];
}

/** A call may be sent twice by a client, a runtime or a network: what its copy does. */
export const idempotencyRepetitionLaw: readonly Law<StoreSubject<AtomicStore>>[] = [
  {
    name: "a transition repeated at once answers the same and changes nothing",
    async run({ store }) {
      for (const [n, { name, before, call }] of HARMLESS.entries()) {
        await play(store, `once-${n}`, [...before, call]);
        const first = await play(store, `twice-${n}`, [...before, call]);
        equal(await play(store, `twice-${n}`, [call]), first, `${name}: the copy's answer`);
        equal(await found(store, `twice-${n}`), await found(store, `once-${n}`), `${name}: what is found`);
      }
    },
  },
  {
    name: "a copy of a call that arrives after other calls does not change what they did",
    async run({ store, wait }) {
      for (const [n, { before, call, others }] of HARMLESS.entries()) {
        for (const key of [`once-${n}`, `twice-${n}`]) await play(store, key, [...before, call, ...others]);
      }
      await wait(100);
      for (const [n, { name, call }] of HARMLESS.entries()) {
        await play(store, `twice-${n}`, [call]);
        equal(await found(store, `twice-${n}`), await found(store, `once-${n}`), `${name}: what is found`);
      }
    },
  },
  {
    name:
      "a copy of begin that arrives after another claimant came and went holds the key for one lease at most",
    async run({ store, wait }) {
      const late = begin("a", "a", 200);
      await play(store, "key", [late, abandon("a"), begin("b"), abandon("b"), late]);
      await wait(300);
      equal((await store.transact(...swapped(begin("c"), "key"))).state, "new", "after the lease");
    },
  },
];
