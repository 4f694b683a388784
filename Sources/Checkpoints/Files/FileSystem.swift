internal import Tensors

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// The few questions about paths that readers of folders ask.
enum FileSystem {
  /// What a path leads to.
  enum Kind { case file, folder, other }

  /// What a path leads to, symbolic links followed; `nil` when there is nothing.
  static func kind(_ path: String) -> Kind? {
    var status = stat()
    guard !path.utf8.contains(0), stat(path, &status) == 0 else { return nil }
    return switch status.st_mode & S_IFMT {
    case S_IFREG: .file
    case S_IFDIR: .folder
    default: .other
    }
  }

  /// Whether the path itself is there, even as a symbolic link to nothing.
  static func isEntry(_ path: String) -> Bool {
    var status = stat()
    return !path.utf8.contains(0) && lstat(path, &status) == 0
  }

  /// Whether nobody but the user of this process can have written the file.
  static func isOwn(_ path: String) -> Bool {
    var status = stat()
    return !path.utf8.contains(0) && stat(path, &status) == 0 && status.st_uid == geteuid()
      && status.st_mode & (S_IWGRP | S_IWOTH) == 0
  }

  /// The path without symbolic links, `.` and `..`; `nil` when it leads to nothing.
  static func realPath(_ path: String) -> String? {
    guard !path.utf8.contains(0), let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  /// The names in a folder, sorted by bytes, without `.` and `..`.
  static func entries(_ folder: String) throws(FileError) -> [String] {
    guard let directory = opendir(folder) else { throw FileError(path: folder, operation: "list", code: errno) }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// A name below a folder.
  static func join(_ folder: String, _ name: String) -> String {
    if folder.isEmpty { name } else { folder.hasSuffix("/") ? folder + name : folder + "/" + name }
  }

  /// The path up to its last slash: `.` for a bare name.
  static func parent(_ path: String) -> String {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// What follows the last slash.
  static func lastComponent(_ path: String) -> String {
    path.utf8.split(separator: UInt8(ascii: "/")).last.map { String(Substring($0)) } ?? path
  }

  /// Why a path is not a plain relative one that stays below its folder, or `nil` when it is.
  ///
  /// Drive letters and backslashes are refused on every system, so that a folder means the same everywhere.
  static func problem(withRelativePath path: String) -> String? {
    // Byte by byte, as the system reads it: to Swift a slash before a combining accent is another character.
    let bytes = Array(path.utf8)
    if bytes.isEmpty { return "is empty" }
    if bytes.contains(0) { return "contains a NUL byte" }
    if bytes.first == UInt8(ascii: "/") { return "is absolute" }
    if bytes.contains(UInt8(ascii: "\\")) || bytes.contains(UInt8(ascii: ":")) {
      return "contains a backslash or a colon"
    }
    let parts = bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    if parts.contains([0x2E, 0x2E]) { return "leaves the folder" }
    if parts.contains([]) || parts.contains([0x2E]) { return "has an empty part or a dot for a part" }
    return nil
  }
}

extension FileSystem {
  /// The content of a file.
  static func read(_ path: String) throws(CheckpointError) -> [UInt8] {
    do {
      let storage = try MappedFile.open(path)
      return storage.copy(0..<storage.bytes.count)
    } catch { throw .file(error) }
  }
}

extension TensorStorage {
  /// A copy of some bytes; the storage lives until it is made, which the pointer alone does not see to.
  func copy(_ range: Range<Int>) -> [UInt8] { withExtendedLifetime(self) { Array(bytes[range]) } }
}

/// Which files may be read for one model, and what to tell the user when one is not there.
struct FileScope: Sendable {
  /// The folder that symbolic links must not leave, resolved; `nil` for a folder the user named.
  var root: String?
  /// What to do about a missing file, such as a download command.
  var advice: String?

  /// Whether a regular file is at the path and may be read.
  ///
  /// A link to nothing (an interrupted download) and a link out of the scope are errors, not absence.
  func has(_ path: String) throws(CheckpointError) -> Bool {
    guard let kind = FileSystem.kind(path) else {
      guard FileSystem.isEntry(path) else { return false }
      throw .notFound(path, reason: with(advice, after: "it is a symbolic link to a file that is not there"))
    }
    guard kind == .file else {
      throw .notFound(path, reason: kind == .folder ? "it is a folder, not a file" : "it is not a regular file")
    }
    if let root {
      guard let real = FileSystem.realPath(path), real.hasPrefix(root + "/") else {
        throw .notFound(path, reason: "it is a symbolic link out of \(root), which a cache must not hold")
      }
    }
    return true
  }

  /// A file that must be there.
  func require(_ path: String, because reason: String) throws(CheckpointError) {
    guard try has(path) else { throw .notFound(path, reason: with(advice, after: reason)) }
  }

  private func with(_ advice: String?, after reason: String) -> String {
    advice.map { reason + "; " + $0 } ?? reason
  }
}
