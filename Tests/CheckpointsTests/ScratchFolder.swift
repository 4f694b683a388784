import Foundation

/// A folder in the system's temporary folder that is removed with all in it.
struct ScratchFolder: ~Copyable {
  /// Without symbolic links in it.
  let path: String

  init() throws {
    let name = "quantize-tests-\(UUID().uuidString)"
    let url = FileManager.default.temporaryDirectory.resolvingSymlinksInPath().appending(path: name)
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.path
  }

  /// Writes a file, and the folders it lies in.
  @discardableResult
  func write(_ name: String, _ content: some Sequence<UInt8>) throws -> String {
    let file = try place(name)
    try Data(content).write(to: URL(filePath: file))
    return file
  }

  /// Writes a text.
  @discardableResult
  func write(_ name: String, _ text: String) throws -> String { try write(name, text.utf8) }

  /// Makes a symbolic link, and the folders it lies in.
  func link(_ name: String, to target: String) throws {
    try FileManager.default.createSymbolicLink(atPath: try place(name), withDestinationPath: target)
  }

  /// The names in the folder.
  var names: [String] {
    get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
  }

  private func place(_ name: String) throws -> String {
    let url = URL(filePath: path).appending(path: name)
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    return url.path
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
