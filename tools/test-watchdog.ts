/**
 * Loaded before each test file: ends its process when it still runs after KVASIR_TEST_FILE_SECONDS, for example because a test
 * left a socket or a timer behind. Node's own time-outs end tests, not the process that holds them.
 */
const seconds = Number(process.env['KVASIR_TEST_FILE_SECONDS'])

if (seconds > 0) {
  setTimeout(() => {
    const open = process.getActiveResourcesInfo().join(', ')
    process.stderr.write(
      `${process.argv[1] ?? 'A test file'} still runs after ${seconds} s, so it is ended. It holds: ${open}\n`,
    )
    process.exit(1)
  }, seconds * 1000).unref()
}
