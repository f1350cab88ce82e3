/**
 * Entries in groups within the limit of a request's bytes, in order; the same entries make the same groups.
 */
export function groupBySize<T extends { readonly size: number }>(
  entries: readonly T[],
  maxBytes: number,
): T[][] {
  const groups: T[][] = [];
  let size = Infinity;
  for (const entry of entries) {
    size += entry.size + 1; // and its comma
    if (size > maxBytes) {
      groups.push([]);
      size = entry.size + 2; // and the brackets
    }
    groups.at(-1)!.push(entry);
  }
  return groups;
}
