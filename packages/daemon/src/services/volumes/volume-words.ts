/** What a volume is called where its pool is not said: its name, after its pool's when that is not the default one. */
export function volumeWords({ pool, name }: { readonly pool: string; readonly name: string }): string {
  return pool === 'default' ? name : `${pool}/${name}`
}
