internal import Tensors

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// A file that is written as `NAME.partial` and takes its name only when it is whole and on the disk.
///
/// Whoever has the old file of that name mapped keeps it. A partial file that is given up is removed.
struct PartialFile: ~Copyable {
  /// The name that the file will take.
  let path: String
  private let partialPath: String
  private let descriptor: Int32
  private var isFinished = false

  /// Creates `path.partial`; one that an earlier run left is removed first, and symbolic links are not followed.
  init(_ path: String) throws(FileError) {
    self.path = path
    partialPath = path + ".partial"
    unlink(partialPath)
    descriptor = open(partialPath, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw FileError(path: partialPath, operation: "create", code: errno) }
  }

  /// Appends bytes.
  func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    // One call writes less than 2 GiB on Linux.
    let most = 1 << 30
    var position = 0
    while position < bytes.count {
      let slice = UnsafeRawBufferPointer(rebasing: bytes[position..<min(position + most, bytes.count)])
      let written = systemWrite(descriptor, slice)
      if written < 0 {
        guard errno == EINTR else { throw FileError(path: partialPath, operation: "write", code: errno) }
      } else {
        position += written
      }
    }
  }

  /// Makes the content durable, then gives the file its name, then makes the name durable.
  consuming func finish() throws(FileError) {
    guard fsync(descriptor) == 0 else { throw FileError(path: partialPath, operation: "write", code: errno) }
    guard rename(partialPath, path) == 0 else { throw FileError(path: path, operation: "rename to", code: errno) }
    isFinished = true
    let folder = FileSystem.parent(path)
    let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { throw FileError(path: folder, operation: "open", code: errno) }
    defer { close(directory) }
    // Some file systems cannot sync a folder and say EINVAL.
    guard fsync(directory) == 0 || errno == EINVAL else {
      throw FileError(path: folder, operation: "write", code: errno)
    }
  }

  deinit {
    guard descriptor >= 0 else { return }
    close(descriptor)
    if !isFinished { unlink(partialPath) }
  }
}

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
  write(descriptor, bytes.baseAddress, bytes.count)
}
