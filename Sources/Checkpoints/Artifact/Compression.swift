/// How the bytes of a tensor are compressed: what pays depends on what they are.
///
/// Measured with libzstd 1.5.4 on one Zen 5 core, frames of 2 MiB, thread time; ratio, then MB/s of plain bytes when
/// compressing and when decoding. *G* are 16 MiB of Gaussian weights in groups of 128, *P* the linears of the pocket
/// models. *No match* is strategy fast, hashLog 6, chainLog 6, minMatch 7, windowLog 21.
///
///     bytes                  no match            level 1             level 3             level 9            level 19
///     G int4 asym, packed    0.9126  591 1042    0.9126  715 1042    0.9126  686 1041    0.9126 123 1012
///     G int4 sym, packed     0.8759  747 1033    0.8759  648  971    0.8759  635 1010    0.8759 106 1013
///     G int3 codes in int4   0.6061  778 1544    0.6061  747 1586    0.6148  154 1142    0.6327  45  781
///     G int8                 0.9442  724 1032    0.9442  710 1040    0.9442  653 1023    0.9442  86 1021
///     G FP8 E4M3             0.8210  735  987    0.8210  704 1003    0.8210  658  991    0.8210 141  986
///     G BF16                 0.7769  704 1048    0.7769  680 1050    0.7769  607 1026    0.7719  51  733
///     G F32                  0.9242  738 1022    0.9242  705 1026    0.9242  667 1014    0.9242 144 1014
///     P int4 asym, packed    0.9097  728 1046    0.9084  698 1045    0.9069  599 1026    0.9065 128 1021    0.9077 7 921
///     P int8                 0.9433  739 1046    0.9433  715 1049    0.9433  694 1052    0.9433 180 1040    0.9440 8 979
///     P FP8 E4M3             0.8215  755 1047    0.8215  729 1042    0.8213  673 1038    0.8212 131 1019    0.8218 6 950
///     P BF16                 0.7794  715 1015    0.7794  687  991    0.7794  627 1013    0.7750  51  754
///     tokenizer.json 5.3 MB  -                   -                   -                   0.3229  37
///
/// So codes hold no matches, only a skewed distribution: searching for matches costs time and, above level 2, bytes.
/// Floats are the same but for the odd run of equal rows, which level 1 finds for nothing. Splitting floats into byte
/// planes would gain another tenth (facts/swift.md §2), but then the frames would not decode to a plain file.
public enum Compression: String, Sendable, Hashable, CaseIterable {
  /// Packed integers and FP8: entropy coding only.
  case codes
  /// Codes that were rounded to be coded: columns one after the other, those of like distributions together.
  case columns
  /// Kept BF16, F16 and F32 tensors, scales and norms: entropy coding and long repeats.
  case floats
  /// Text, and everything else that repeats itself.
  case text
  /// Bytes that are known not to compress.
  case stored

  /// All seven numbers that govern a zstd compressor, so that no table of a library version decides.
  struct Parameters {
    let windowLog, chainLog, hashLog, searchLog, minMatch, targetLength, strategy: Int32
  }

  /// The pinned parameters for so many bytes, or `nil` for bytes that are stored.
  ///
  /// Each block has a Huffman table of its own, and is no longer than the window: for columns a short window keeps
  /// those of different distributions apart. What the fast strategies lose there is not in the tables: they take every
  /// repeat of four bytes at the last distance, which in codes of 2 or 3 bits comes by chance and costs more than
  /// literals. The optimal parser compares. Gaussian codes with steps that differ between columns, 2048 × 2048, libzstd
  /// 1.5.4, bits a weight; *pairs* are two codes of a column in a byte:
  ///
  ///                  entropy   fast, 32 KiB   optimal, 8 KiB   16 KiB   32 KiB   64 KiB   128 KiB
  ///     2.3, pairs     2.217          2.267            2.273    2.261    2.257    2.258     2.262
  ///     3.0, pairs     2.933          2.999            3.006    2.990    2.983    2.984     2.987
  ///     3.0, bytes     2.912          3.013            3.002    2.990    2.984    2.985     2.992
  ///     4.0, bytes     3.917          3.974            3.997    3.980    3.971    3.970     3.971
  ///     3.0, bytes, 256 × 256         3.134            3.069    3.084    3.124    3.272     3.318
  ///
  /// It takes a fifteenth of the speed, about 28 MB/s on one core; decoding is as fast.
  func parameters(for byteCount: Int) -> Parameters? {
    switch self {
    case .columns:
      Parameters(
        windowLog: byteCount < 512 << 10 ? 14 : 15, chainLog: 6, hashLog: 6, searchLog: 1, minMatch: 7,
        targetLength: 999, strategy: 7)
    case .codes:
      Parameters(windowLog: 21, chainLog: 6, hashLog: 6, searchLog: 1, minMatch: 7, targetLength: 0, strategy: 1)
    case .floats:
      Parameters(windowLog: 19, chainLog: 13, hashLog: 14, searchLog: 1, minMatch: 7, targetLength: 0, strategy: 1)
    case .text:
      Parameters(windowLog: 22, chainLog: 19, hashLog: 20, searchLog: 4, minMatch: 5, targetLength: 32, strategy: 5)
    case .stored: nil
    }
  }
}
