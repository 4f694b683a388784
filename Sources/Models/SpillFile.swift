internal import Tensors

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// A file without a name that holds matrices which memory has no room for; it goes when it is closed.
///
/// Read and written, not mapped: mapped pages would count as the process's memory.
final class SpillFile {
  private let descriptor: Int32
  private let folder: String

  init(in folder: String, byteCount: Int) throws(ModelError) {
    self.folder = folder
    var template = Array((folder + "/.quantize-spill-XXXXXX").utf8CString)
    descriptor = mkstemp(&template)
    guard descriptor >= 0 else { throw .spill(folder: folder, reason: String(cString: strerror(errno)), isFull: false) }
    unlink(template)
    // Space is taken now: a full disk is found before the work, not in the middle of it.
    let code = posix_fallocate(descriptor, 0, off_t(max(1, byteCount)))
    guard code == 0 else {
      close(descriptor)
      throw .spill(folder: folder, reason: String(cString: strerror(code)), isFull: code == ENOSPC || code == EDQUOT)
    }
  }

  deinit { close(descriptor) }

  func read(rows: Int, columns: Int, at offset: Int) throws(ModelError) -> Matrix {
    var failure: Int32 = 0
    let result = Matrix(rows: rows, columns: columns) { values in
      var bytes = UnsafeMutableRawBufferPointer(values)
      var position = offset
      while !bytes.isEmpty {
        let count = pread(descriptor, bytes.baseAddress, bytes.count, off_t(position))
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else {
          failure = count < 0 ? errno : EIO
          values.update(repeating: 0)
          return
        }
        bytes = UnsafeMutableRawBufferPointer(rebasing: bytes[count...])
        position += count
      }
    }
    guard failure == 0 else { throw problem(failure) }
    return result
  }

  func write(_ matrix: Matrix, at offset: Int) throws(ModelError) {
    var failure: Int32 = 0
    matrix.values.withUnsafeBytes { all in
      var bytes = all
      var position = offset
      while !bytes.isEmpty {
        let count = pwrite(descriptor, bytes.baseAddress, bytes.count, off_t(position))
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else {
          failure = errno
          return
        }
        bytes = UnsafeRawBufferPointer(rebasing: bytes[count...])
        position += count
      }
    }
    guard failure == 0 else { throw problem(failure) }
  }

  private func problem(_ code: Int32) -> ModelError {
    .spill(folder: folder, reason: String(cString: strerror(code)), isFull: code == ENOSPC || code == EDQUOT)
  }
}
