/**
 * How much longer than elsewhere tests wait: KVASIR_PATIENCE times as long, which is 1 where nothing is said. Only for machines that
 * are emulated, such as the lab.
 */
export function patient(milliseconds: number): number {
  return milliseconds * (Number(process.env['KVASIR_PATIENCE']) || 1)
}

/** Whether this machine is one that is emulated. */
export function isSlowMachine(): boolean {
  return patient(1) > 1
}
