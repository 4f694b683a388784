import Foundation
import Kernels
import Pipeline

/// What happens to signals, and the one environment variable that chooses arithmetic.
enum Signals {
  /// The first SIGINT or SIGTERM asks the run to stop where it can be resumed; the second ends the process.
  static func install() {
    // Who started the program may have blocked signals in itself, and a block is inherited.
    var stops = sigset_t()
    sigemptyset(&stops)
    for number in [SIGINT, SIGTERM] {
      sigaddset(&stops, number)
      signal(number) { number in
        Interruption.request()
        signal(number, SIG_DFL)
      }
    }
    pthread_sigmask(SIG_UNBLOCK, &stops, nil)
    // Writing beyond the allowed file size, or into a closed pipe, should be an error of write, not the end.
    signal(SIGXFSZ, SIG_IGN)
    signal(SIGPIPE, SIG_IGN)
  }

  static func checkInstructionSet() throws {
    do throws(InstructionSetError) { try InstructionSet.checkEnvironment() } catch {
      throw PipelineError.usage(error.description)
    }
  }
}
