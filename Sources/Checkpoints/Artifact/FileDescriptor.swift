internal import Tensors

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// An open file that is read and written at given offsets: every system call of the artifact is made here.
final class FileDescriptor: Sendable {
  /// The file's path, for messages.
  let path: String
  private let number: Int32

  /// Opens a regular file for reading.
  init(reading path: String) throws(CheckpointError) {
    // A pipe would wait for its other end; a regular file does not mind.
    number = try Self.opened(path, O_RDONLY | O_NONBLOCK)
    self.path = path
    var status = stat()
    guard fstat(number, &status) == 0 else { throw failure("read") }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw .file(FileError(path: path, operation: "read", code: EISDIR))
    }
  }

  /// Opens a file for writing, and for nobody else who asks the same way.
  ///
  /// - Parameters:
  ///   - isNew: the file is made if it is not there; if it is, it stays as it is until it is emptied.
  ///   - isPrivate: a file that is made is for its owner alone, and symbolic links are not followed.
  init(writing path: String, isNew: Bool, isPrivate: Bool = false) throws(CheckpointError) {
    number = try Self.opened(
      path, O_RDWR | (isNew ? O_CREAT : 0) | (isPrivate ? O_NOFOLLOW : 0), mode: isPrivate ? 0o600 : 0o666)
    self.path = path
    // What is private is a cache: whoever holds it writes the same, which nobody needs to wait for.
    try lock(attempts: isPrivate ? 1 : 25)
  }

  /// Tries every 20 ms: a process that has just been killed, and a child between fork and exec, which has copies of
  /// all descriptors, hold locks a moment longer than anybody uses the file.
  private func lock(attempts: Int) throws(CheckpointError) {
    for attempt in 1... {
      if flock(number, LOCK_EX | LOCK_NB) == 0 { return }
      guard attempt < attempts, errno == EWOULDBLOCK || errno == EINTR else { throw failure("lock") }
      usleep(20_000)
    }
  }

  deinit { close(number) }

  private static func opened(_ path: String, _ flags: Int32, mode: mode_t = 0o666) throws(CheckpointError) -> Int32 {
    // A path that a zero byte ends early would be another one.
    guard !path.utf8.contains(0) else { throw .file(FileError(path: path, operation: "open", code: ENOENT)) }
    let number = open(path, flags | O_CLOEXEC, mode)
    guard number >= 0 else { throw .file(FileError(path: path, operation: "open", code: errno)) }
    return number
  }

  private func failure(_ operation: String) -> CheckpointError {
    .file(FileError(path: path, operation: operation, code: errno))
  }

  /// The file's size now.
  func byteCount() throws(CheckpointError) -> Int {
    var status = stat()
    guard fstat(number, &status) == 0 else { throw failure("read") }
    return Int(status.st_size)
  }

  /// Whether this is the file of its path still; somebody may have moved it.
  var hasItsName: Bool {
    var (own, named) = (stat(), stat())
    return fstat(number, &own) == 0 && lstat(path, &named) == 0 && own.st_ino == named.st_ino
      && own.st_dev == named.st_dev
  }

  /// The bytes of a range that lies within the file.
  func read(_ range: Range<Int>) throws(CheckpointError) -> [UInt8] {
    var result = Result<Void, CheckpointError>.success(())
    let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
      let destination = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<range.count])
      result = Result { () throws(CheckpointError) in try read(at: range.lowerBound, into: destination) }
      if case .success = result { count = range.count }
    }
    try result.get()
    return bytes
  }

  /// Fills a buffer with the bytes from an offset on, all of which lie within the file.
  func read(at offset: Int, into destination: UnsafeMutableRawBufferPointer) throws(CheckpointError) {
    var count = 0
    while count < destination.count {
      let got = pread(
        number, destination.baseAddress.map { $0 + count }, destination.count - count, off_t(offset + count))
      if got < 0 && errno == EINTR { continue }
      guard got >= 0 else { throw failure("read") }
      // The size was known: somebody cut the file meanwhile.
      guard got > 0 else { throw .file(FileError(path: path, operation: "read", code: EIO)) }
      count += got
    }
  }

  /// Writes all bytes at an offset.
  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(CheckpointError) {
    var done = 0
    while done < bytes.count {
      let count = pwrite(number, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw failure("write") }
      guard count > 0 else { throw .file(FileError(path: path, operation: "write", code: ENOSPC)) }
      done += count
    }
  }

  /// Writes all bytes at an offset.
  func write(_ bytes: [UInt8], at offset: Int) throws(CheckpointError) {
    let result = bytes.withUnsafeBytes { buffer in
      Result { () throws(CheckpointError) in try write(buffer, at: offset) }
    }
    try result.get()
  }

  /// Lets the system read a range ahead, without waiting for it.
  func beginReading(_ range: Range<Int>) {
    #if !canImport(Darwin)
      posix_fadvise(number, off_t(range.lowerBound), off_t(range.count), POSIX_FADV_WILLNEED)
    #endif
  }

  /// Lets the disk begin with a range, without waiting for it; not worth a call for little.
  func beginWriting(_ range: Range<Int>) {
    #if !canImport(Darwin)
      guard range.count >= 4 << 20 else { return }
      // That the bytes are not needed makes Linux write them at once. A wish: whoever needs to know synchronizes.
      posix_fadvise(number, off_t(range.lowerBound), off_t(range.count), POSIX_FADV_DONTNEED)
    #endif
  }

  /// Cuts the file to a size.
  func truncate(to byteCount: Int) throws(CheckpointError) {
    guard ftruncate(number, off_t(byteCount)) == 0 else { throw failure("write") }
  }

  /// Removes what an earlier run left; a device is empty by itself and cannot be cut.
  func empty() throws(CheckpointError) {
    if try byteCount() > 0 { try truncate(to: 0) }
  }

  /// Waits until the disk has everything.
  func synchronize() throws(CheckpointError) {
    // Not every file system can be asked this; those that cannot say so with EINVAL.
    guard fsync(number) == 0 || errno == EINVAL else { throw failure("write") }
  }
}

extension FileError {
  /// A folder has the name that a file is to get.
  static func isFolder(_ path: String) -> FileError { FileError(path: path, operation: "replace", code: EISDIR) }

  /// A folder that is to be written has something in it.
  static func isNotEmpty(_ path: String) -> FileError { FileError(path: path, operation: "replace", code: ENOTEMPTY) }
}

// MARK: Names in folders

extension FileSystem {
  /// Gives a finished file or folder its name, replacing a file that had it.
  static func rename(_ old: String, to new: String) throws(CheckpointError) {
    guard move(old, new) == 0 else { throw .file(FileError(path: new, operation: "replace", code: errno)) }
    try synchronizeFolder(parent(new))
  }

  /// Removes a file if it is there.
  static func remove(_ path: String) throws(CheckpointError) {
    guard unlink(path) == 0 || errno == ENOENT else {
      throw .file(FileError(path: path, operation: "remove", code: errno))
    }
  }

  /// Waits until the disk knows the names in a folder.
  static func synchronizeFolder(_ path: String) throws(CheckpointError) {
    let number = open(path, O_RDONLY | O_CLOEXEC)
    guard number >= 0 else { throw .file(FileError(path: path, operation: "open", code: errno)) }
    defer { close(number) }
    guard fsync(number) == 0 || errno == EINVAL else {
      throw .file(FileError(path: path, operation: "write", code: errno))
    }
  }

  private static func move(_ old: String, _ new: String) -> Int32 {
    #if canImport(Glibc)
      Glibc.rename(old, new)
    #elseif canImport(Musl)
      Musl.rename(old, new)
    #else
      Darwin.rename(old, new)
    #endif
  }
}
