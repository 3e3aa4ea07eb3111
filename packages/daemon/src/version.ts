/** The version of the daemon, which the API and the log show. */
export const version = '0.1.0'
