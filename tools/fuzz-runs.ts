/** How often a random test runs: as often as its rung has time for, or as often as `KVASIR_FUZZ_RUNS` says. */
export function fuzzRuns(usual: number): number {
  return Number(process.env['KVASIR_FUZZ_RUNS'] ?? usual)
}
