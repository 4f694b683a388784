import Foundation

/// Standard output or error, written at once; a reader that has gone away is not an error of ours.
enum StandardStream: Int32 {
  case output = 1
  case error = 2

  /// Writes all bytes of a text, and says whether they were taken.
  @discardableResult
  func write(_ text: String) -> Bool {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(rawValue, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }
}
