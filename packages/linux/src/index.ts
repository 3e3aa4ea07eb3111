/** Typed names for what the Linux kernel offers: commands, processes, /proc, cgroup v2, listening sockets. */
export * from './cgroup.ts'
export * from './descriptors.ts'
export * from './listen.ts'
export * from './proc.ts'
export * from './process-identity.ts'
export * from './process-memory.ts'
export * from './run-command.ts'
export * from './socket-pair.ts'
