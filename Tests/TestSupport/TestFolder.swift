internal import Foundation
public import StrictJSON

/// A folder in the system's temporary folder; all of them go when the process ends.
public struct TestFolder: Sendable {
  /// Without symbolic links in it.
  public let path: String

  /// A new, empty folder.
  public init() throws {
    let url = URL(filePath: Self.root).appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.path
  }

  /// The folder of this process.
  private static let root: String = {
    atexit { try? FileManager.default.removeItem(atPath: TestFolder.root) }
    return FileManager.default.temporaryDirectory.resolvingSymlinksInPath()
      .appending(path: "quantize-tests-\(ProcessInfo.processInfo.processIdentifier)").path
  }()

  /// The path of something below the folder.
  public func callAsFunction(_ name: String) -> String { path + "/" + name }

  /// Writes a file below the folder, and the folders it lies in.
  @discardableResult
  public func write(_ name: String, _ content: some Sequence<UInt8>) throws -> String {
    let url = URL(filePath: self(name))
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(content).write(to: url)
    return url.path
  }

  /// Writes a text.
  @discardableResult
  public func write(_ name: String, _ text: String) throws -> String { try write(name, text.utf8) }

  /// The bytes of a file below the folder.
  public func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(filePath: self(name)))) }

  /// The JSON in a file below the folder.
  public func json(_ name: String) throws -> JSONValue { try JSONValue(parsing: bytes(name)) }

  /// The names in the folder, or in one below it, sorted.
  public func names(in folder: String = "") throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: self(folder)).sorted()
  }

  /// Copies a folder below this one; its files can then be changed.
  @discardableResult
  public func copy(_ source: String, as name: String) throws -> String {
    for file in try FileManager.default.subpathsOfDirectory(atPath: source) {
      var isFolder: ObjCBool = false
      guard FileManager.default.fileExists(atPath: source + "/" + file, isDirectory: &isFolder), !isFolder.boolValue
      else { continue }
      try write(name + "/" + file, Data(contentsOf: URL(filePath: source + "/" + file)))
    }
    return self(name)
  }

  /// Whether something of this name is there.
  public func has(_ name: String) -> Bool { FileManager.default.fileExists(atPath: self(name)) }
}
