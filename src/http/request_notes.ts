/**
 * What helpers around one request tell each other, whatever their order: whether its answer is one person's, and
 * which caches are being filled with it. Noted by the objects that they share: Hono's context, the request.
 */

interface Notes {
  readonly personal: (() => boolean)[];
  readonly filling: Map<object, object>;
}

const notes = new WeakMap<object, Notes>();

function notesOf(owner: object): Notes {
  let found = notes.get(owner);
  if (found === undefined) notes.set(owner, found = { personal: [], filling: new Map() });
  return found;
}

/**
 * Notes a way to ask whether the answer depends on who asked: a session that was read or changed. It is asked late,
 * as a handler may read its session while its body is on the way.
 */
export function notePersonal(owners: readonly object[], asked: () => boolean): void {
  for (const owner of owners) notesOf(owner).personal.push(asked);
}

/** Whether the answer to the request is one person's, as far as it was made by now. */
export function isPersonal(...owners: readonly object[]): boolean {
  return owners.some((owner) => notes.get(owner)?.personal.some((asked) => asked()));
}

/** Notes that a cache is filled with the answer to the request, and with which options. */
export function noteFilling(owners: readonly object[], cache: object, options: object): void {
  for (const owner of owners) notesOf(owner).filling.set(cache, options);
}

/** The options with which that cache is filled with the answer to the request; `undefined` where it is not. */
export function fillingOptions(owners: readonly object[], cache: object): object | undefined {
  for (const owner of owners) {
    const options = notes.get(owner)?.filling.get(cache);
    if (options !== undefined) return options;
  }
  return undefined;
}
