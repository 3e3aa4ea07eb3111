/**
 * Who listens to which event of one connection.
 *
 * A listener that throws harms neither the connection nor the other listeners. Nothing is queued: an event
 * that nobody listens to is gone.
 */

/** Listeners by event name, `*` for all. */
export class EventListeners<Event extends { readonly event: string }> {
  readonly #byName = new Map<string, Set<(event: Event) => void>>()
  readonly #onError: (error: unknown) => void

  constructor(onError: (error: unknown) => void = warn) {
    this.#onError = onError
  }

  /** Adds a listener and returns what removes it; a listener added twice is called twice. */
  add(name: string, listener: (event: Event) => void): () => void {
    const listeners = this.#byName.get(name) ?? new Set()
    this.#byName.set(name, listeners)
    const registered = (event: Event): void => listener(event)
    listeners.add(registered)
    return () => {
      listeners.delete(registered)
      if (listeners.size === 0 && this.#byName.get(name) === listeners) this.#byName.delete(name)
    }
  }

  /** Calls the listeners of the event's name, then those of all events. */
  emit(event: Event): void {
    this.#call(this.#byName.get(event.event), event)
    this.#call(this.#byName.get('*'), event)
  }

  #call(listeners: Set<(event: Event) => void> | undefined, event: Event): void {
    if (listeners === undefined) return
    for (const listener of listeners) {
      try {
        listener(event)
      } catch (error) {
        this.#onError(error)
      }
    }
  }
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error))
}
