/// What a file of `Vectors/refused` must be refused with.
struct Refusal {
  /// The byte of the file that the error names.
  let offset: Int
  /// The tensor that the error names.
  let tensor: String?
  /// The start of the problem: all of it, but for lists of what is known.
  let problem: String

  init(_ offset: Int, _ tensor: String?, _ problem: String) {
    self.offset = offset
    self.tensor = tensor
    self.problem = problem
  }
}

/// One entry a file of `Vectors/refused`.
let refusals: [String: Refusal] = [
  "aliases": Refusal(66, "t1", #"its data begin at 0, within those of "t0", which end at 16"#),
  "bits-overflow": Refusal(9, "a", "the number of bits of F64 [2305843009213693952] does not fit 63 bits"),
  "bytes-after-the-end": Refusal(62, nil, "2 bytes follow the last tensor"),
  "cut-before-data": Refusal(61, nil, "the file is cut short: its tensors take 1 bytes, 0 are there"),
  "cut-short": Refusal(63, nil, "the file is cut short: its tensors take 4 bytes, 2 are there"),
  "data-offsets-missing": Refusal(9, "a", "data_offsets is missing"),
  "data-offsets-twice": Refusal(
    60, nil, #"the header is not valid JSON: the name "data_offsets" occurs twice in one object"#),
  "dtype-C128": Refusal(9, "a", #"dtype "C128" is unknown, one of BOOL, F4, "#),
  "dtype-E8M0": Refusal(9, "a", #"dtype "E8M0" is unknown, one of BOOL, F4, "#),
  "dtype-F4_E2M1": Refusal(9, "a", #"dtype "F4_E2M1" is unknown, one of BOOL, F4, "#),
  "dtype-F6": Refusal(9, "a", #"dtype "F6" is unknown, one of BOOL, F4, "#),
  "dtype-F8": Refusal(9, "a", #"dtype "F8" is unknown, one of BOOL, F4, "#),
  "dtype-I128": Refusal(9, "a", #"dtype "I128" is unknown, one of BOOL, F4, "#),
  "dtype-empty": Refusal(9, "a", #"dtype "" is unknown, one of BOOL, F4, "#),
  "dtype-lower-case": Refusal(9, "a", #"dtype "f32" is unknown, one of BOOL, F4, "#),
  "dtype-missing": Refusal(9, "a", "dtype is missing"),
  "dtype-number": Refusal(9, "a", "dtype is a number, a string is expected"),
  "dtype-twice": Refusal(60, nil, #"the header is not valid JSON: the name "dtype" occurs twice in one object"#),
  "empty-file": Refusal(0, nil, "a safetensors file starts with 8 bytes of header length, this one has 0 in all"),
  "empty-tensor-in-a-hole": Refusal(61, "e", "its data begin at 2, after a hole: 1 is expected"),
  "empty-tensor-within-another": Refusal(61, "e", #"its data begin at 1, within those of "a", which end at 2"#),
  "end-before-begin": Refusal(61, "b", "data_offsets end at 0, before they begin at 1"),
  "entry-array": Refusal(9, "a", "the entry is an array, an object is expected"),
  "entry-string": Refusal(9, "a", "the entry is a string, an object is expected"),
  "f4-half-a-byte": Refusal(9, "a", "F4 [1, 3] takes 12 bits, which is not a whole number of bytes"),
  "f6-half-a-byte": Refusal(9, "a", "F6_E2M3 [2] takes 12 bits, which is not a whole number of bytes"),
  "git-lfs-pointer": Refusal(0, nil, "this is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"),
  "header-empty": Refusal(8, nil, "the header is not valid JSON: the text ends where a value is expected"),
  "hole-at-start": Refusal(9, "a", "its data begin at 1, after a hole: 0 is expected"),
  "hole-in-middle": Refusal(61, "b", "its data begin at 2, after a hole: 1 is expected"),
  "json-byte-order-mark": Refusal(8, nil, "the header is not valid JSON: a value cannot start with byte 0xef"),
  "json-comment": Refusal(9, nil, "the header is not valid JSON: a member name in quotes is expected"),
  "json-control-character": Refusal(
    11, nil, "the header is not valid JSON: a control character in a string must be escaped"),
  "json-lone-surrogate": Refusal(16, nil, "the header is not valid JSON: a high surrogate stands alone"),
  "json-nested-129": Refusal(190, nil, "the header is not valid JSON: nested deeper than 128"),
  "json-nul-padding": Refusal(61, nil, "the header is not valid JSON: there is more after the value"),
  "json-trailing-comma": Refusal(61, nil, "the header is not valid JSON: a member name in quotes is expected"),
  "json-unclosed": Refusal(9, nil, "the header is not valid JSON: a member name in quotes is expected"),
  "length-100000001": Refusal(0, nil, "the header claims 100000001 bytes, at most 100000000 are allowed"),
  "length-beyond-file": Refusal(0, nil, "the header claims 1000 bytes, but only 102 follow"),
  "length-huge": Refusal(0, nil, "the header claims 18446744069414584380 bytes, at most 100000000 are allowed"),
  "length-without-header": Refusal(0, nil, "the header claims 60 bytes, but only 0 follow"),
  "metadata-array": Refusal(9, nil, "__metadata__ is an array, an object of strings is expected"),
  "metadata-name-twice": Refusal(33, nil, #"the header is not valid JSON: the name "x" occurs twice in one object"#),
  "metadata-name-twice-in-unicode-forms": Refusal(
    9, nil, #"__metadata__ "é" occurs twice, in different Unicode forms"#),
  "metadata-twice": Refusal(
    27, nil, #"the header is not valid JSON: the name "__metadata__" occurs twice in one object"#),
  "metadata-value-array": Refusal(9, nil, #"__metadata__ "x" is an array, a string is expected"#),
  "metadata-value-boolean": Refusal(9, nil, #"__metadata__ "x" is a boolean, a string is expected"#),
  "metadata-value-null": Refusal(9, nil, #"__metadata__ "x" is null, a string is expected"#),
  "metadata-value-number": Refusal(9, nil, #"__metadata__ "x" is a number, a string is expected"#),
  "metadata-value-object": Refusal(9, nil, #"__metadata__ "x" is an object, a string is expected"#),
  "name-twice": Refusal(61, nil, #"the header is not valid JSON: the name "a" occurs twice in one object"#),
  "name-twice-in-unicode-forms": Refusal(66, "é", "the name occurs twice, in different Unicode forms"),
  "number-2-to-63": Refusal(
    9, "a", "shape holds 9223372036854775808, a whole number from 0 to 9223372036854775807 is expected"),
  "number-2-to-64": Refusal(
    9, "a", "shape holds 18446744073709551616, a whole number from 0 to 9223372036854775807 is expected"),
  "number-exponent": Refusal(9, "a", "shape holds 1e0, a whole number from 0 to 9223372036854775807 is expected"),
  "number-fraction": Refusal(9, "a", "shape holds 1.0, a whole number from 0 to 9223372036854775807 is expected"),
  "number-leading-zero": Refusal(36, nil, "the header is not valid JSON: a number has a leading zero"),
  "number-minus-zero": Refusal(9, "a", "shape holds -0, a whole number from 0 to 9223372036854775807 is expected"),
  "number-negative": Refusal(9, "a", "shape holds -1, a whole number from 0 to 9223372036854775807 is expected"),
  "number-null": Refusal(9, "a", "shape holds null, a whole number is expected"),
  "number-plus": Refusal(36, nil, "the header is not valid JSON: a value cannot start with byte 0x2b"),
  "number-string": Refusal(9, "a", "shape holds a string, a whole number is expected"),
  "offset-2-to-64": Refusal(
    9, "a", "data_offsets holds 18446744073709551616, a whole number from 0 to 9223372036854775807 is expected"),
  "offset-exponent": Refusal(
    9, "a", "data_offsets holds 1e0, a whole number from 0 to 9223372036854775807 is expected"),
  "offset-fraction": Refusal(
    9, "a", "data_offsets holds 1.0, a whole number from 0 to 9223372036854775807 is expected"),
  "offset-leading-zero": Refusal(57, nil, "the header is not valid JSON: a number has a leading zero"),
  "offset-minus-zero": Refusal(
    9, "a", "data_offsets holds -0, a whole number from 0 to 9223372036854775807 is expected"),
  "offset-negative": Refusal(9, "a", "data_offsets holds -1, a whole number from 0 to 9223372036854775807 is expected"),
  "offset-plus": Refusal(57, nil, "the header is not valid JSON: a value cannot start with byte 0x2b"),
  "offset-string": Refusal(9, "a", "data_offsets holds a string, a whole number is expected"),
  "offsets-object": Refusal(9, "a", "data_offsets is an object, an array of whole numbers is expected"),
  "offsets-one": Refusal(9, "a", "data_offsets hold 1 numbers, 2 are expected"),
  "offsets-three": Refusal(9, "a", "data_offsets hold 3 numbers, 2 are expected"),
  "overlap": Refusal(61, "b", #"its data begin at 1, within those of "a", which end at 2"#),
  "product-2-to-63-before-zero": Refusal(
    9, "a", "the number of elements of [4611686018427387904, 2, 0] does not fit 63 bits"),
  "product-overflow": Refusal(9, "a", "the number of elements of [2, 9223372036854775807] does not fit 63 bits"),
  "product-overflow-before-zero": Refusal(
    9, "a", "the number of elements of [4294967296, 4294967296, 0] does not fit 63 bits"),
  "root-array": Refusal(8, nil, "the header is an array, an object is expected"),
  "root-null": Refusal(8, nil, "the header is null, an object is expected"),
  "root-number": Refusal(8, nil, "the header is a number, an object is expected"),
  "seven-bytes": Refusal(0, nil, "a safetensors file starts with 8 bytes of header length, this one has 7 in all"),
  "shape-missing": Refusal(9, "a", "shape is missing"),
  "shape-null": Refusal(9, "a", "shape is null, an array of whole numbers is expected"),
  "shape-number": Refusal(9, "a", "shape is a number, an array of whole numbers is expected"),
  "shape-twice": Refusal(60, nil, #"the header is not valid JSON: the name "shape" occurs twice in one object"#),
  "size-beyond-file": Refusal(
    105, nil, "the file is cut short: its tensors take 1152921504606846975 bytes, 8 are there"),
  "size-too-large": Refusal(9, "a", "U8 [1] needs 1 bytes, data_offsets give 2"),
  "size-too-small": Refusal(9, "a", "I32 [2, 2] needs 16 bytes, data_offsets give 4"),
  "utf8-invalid": Refusal(8, nil, "the header is not valid UTF-8"),
  "utf8-invalid-in-name": Refusal(11, nil, "the header is not valid UTF-8"),
]
