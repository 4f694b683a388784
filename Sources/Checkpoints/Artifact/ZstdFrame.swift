internal import CZstd

/// Why a zstd frame is not one of ours, or cannot be decoded.
enum ZstdError: Error, Equatable, CustomStringConvertible {
  /// The first four bytes are not a zstd frame's.
  case magic(UInt32)
  /// The frame descriptor lacks the content size or checksum, names a dictionary, or sets a bit without meaning.
  case descriptor(UInt8)
  /// The header ends early, or asks for a window that many decoders lack.
  case header
  /// The frame says that it holds another number of bytes.
  case contentSize(expected: Int, found: UInt64)
  /// The frame takes another number of bytes.
  case frameSize(expected: Int, found: Int)
  /// `libzstd` refused, in its own words.
  case library(String)

  /// One sentence.
  var description: String {
    switch self {
    case .magic(let found): "no zstd frame begins with \(Hex.text(found))"
    case .descriptor(let byte): "frame descriptor \(Hex.text(byte)) is not that of a frame with size and checksum only"
    case .header: "the frame header is not well-formed"
    case .contentSize(let expected, let found): "the frame declares \(found) bytes where \(expected) are expected"
    case .frameSize(let expected, let found): "the frame takes \(found) bytes where the table gives \(expected)"
    case .library(let reason): "libzstd says: \(reason)"
    }
  }
}

/// The one place that calls `libzstd`: one chunk in, one frame out, and back.
///
/// Compressing uses a context of its own each time: making one takes 10 µs, coding a frame takes a thousand.
enum ZstdFrame {
  /// The most that a frame for so many bytes may take.
  static func bound(_ byteCount: Int) -> Int { byteCount + byteCount >> 8 + 64 }

  /// One frame with content size and checksum; stored when that saves less than 3 %.
  static func compress(_ bytes: UnsafeRawBufferPointer, _ compression: Compression) throws(ZstdError) -> [UInt8] {
    guard let parameters = compression.parameters(for: bytes.count) else { return ZstdFrameHeader.storedFrame(bytes) }
    guard let context = ZSTD_createCCtx() else { throw .library("out of memory") }
    defer { ZSTD_freeCCtx(context) }
    let settings: [(ZSTD_cParameter, Int32)] = [
      // The level is named only because it gives defaults to what is not set here; no negative one may be in force.
      (ZSTD_c_compressionLevel, 1), (ZSTD_c_contentSizeFlag, 1), (ZSTD_c_checksumFlag, 1), (ZSTD_c_dictIDFlag, 0),
      (ZSTD_c_windowLog, parameters.windowLog), (ZSTD_c_chainLog, parameters.chainLog),
      (ZSTD_c_hashLog, parameters.hashLog), (ZSTD_c_searchLog, parameters.searchLog),
      (ZSTD_c_minMatch, parameters.minMatch), (ZSTD_c_targetLength, parameters.targetLength),
      (ZSTD_c_strategy, parameters.strategy),
    ]
    for (parameter, value) in settings { try check(ZSTD_CCtx_setParameter(context, parameter, value)) }
    var result = Result<Int, ZstdError>.success(0)
    let frame = [UInt8](unsafeUninitializedCapacity: ZSTD_compressBound(bytes.count)) { buffer, count in
      result = Result { () throws(ZstdError) in
        try check(ZSTD_compress2(context, buffer.baseAddress, buffer.count, bytes.baseAddress, bytes.count))
      }
      if case .success(let size) = result { count = size }
    }
    let size = try result.get()
    return isWorthwhile(size, for: bytes.count) ? frame : ZstdFrameHeader.storedFrame(bytes)
  }

  /// Whether a frame of `size` saves 3 % or more.
  private static func isWorthwhile(_ size: Int, for byteCount: Int) -> Bool { size * 100 <= byteCount * 97 }

  /// What decoding works with; one frame after the other may use it, but never two at once.
  final class Decoder {
    fileprivate let context: OpaquePointer?

    init() { context = ZSTD_createDCtx() }

    deinit { ZSTD_freeDCtx(context) }
  }

  /// Decodes one whole frame of ours, which must fill the destination exactly.
  static func decompress(
    _ frame: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer, with decoder: Decoder = Decoder()
  ) throws(ZstdError) {
    let header = try ZstdFrameHeader(parsing: frame)
    guard header.contentSize == UInt64(destination.count) else {
      throw .contentSize(expected: destination.count, found: header.contentSize)
    }
    let size = try check(ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count))
    guard size == frame.count else { throw .frameSize(expected: frame.count, found: size) }
    guard let context = decoder.context else { throw .library("out of memory") }
    let produced = try check(
      ZSTD_decompressDCtx(context, destination.baseAddress, destination.count, frame.baseAddress, frame.count))
    guard produced == destination.count else {
      throw .contentSize(expected: destination.count, found: UInt64(produced))
    }
  }

  /// The version of the library that compresses, such as 10504.
  static var libraryVersion: Int { Int(ZSTD_versionNumber()) }

  @discardableResult
  private static func check(_ code: Int) throws(ZstdError) -> Int {
    guard ZSTD_isError(code) == 0 else { throw .library(String(cString: ZSTD_getErrorName(code))) }
    return code
  }
}
