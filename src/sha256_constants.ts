/**
 * The first 32 bits of the fractions of a root of the first primes, as the standard defines the constants of
 * SHA-256. A double has 53 bits, and no root here takes more than five of them before the point.
 *
 * @see https://csrc.nist.gov/pubs/fips/180-4/upd1/final
 */
export function fractions(count: number, root: (prime: number) => number): Int32Array {
  const found = new Int32Array(count);
  for (let n = 2, i = 0; i < count; n++) {
    let prime = true;
    for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) prime = false;
    if (prime) found[i++] = (root(n) % 1) * 2 ** 32 | 0;
  }
  return found;
}
