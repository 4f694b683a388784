/// The journal of a run that may begin to write before it is known which run it is.
///
/// What it finishes until then is noted as soon as it is known: it cannot be resumed earlier, because nobody could tell
/// whether it is the same run.
struct RunJournal {
  private var journal: Journal?
  private var waiting: [Journal.Checkpoint] = []

  /// A journal that goes on, or, without one, of a run that is not known yet.
  init(_ journal: Journal?) { self.journal = journal }

  /// Notes from now on what is finished, and first of all what was finished so far.
  ///
  /// - Precondition: the run was not known before.
  mutating func begin(_ journal: Journal, _ output: OutputLane) throws(CheckpointError) {
    precondition(self.journal == nil, "a run is named twice")
    self.journal = journal
    for checkpoint in waiting { try output.synchronize(then: checkpoint, in: journal) }
    waiting = []
  }

  /// Notes a checkpoint once the disk has what was given to the output before it.
  mutating func append(_ checkpoint: Journal.Checkpoint, _ output: OutputLane) throws(CheckpointError) {
    if let journal {
      try output.synchronize(then: checkpoint, in: journal)
    } else {
      waiting.append(checkpoint)
    }
  }
}
