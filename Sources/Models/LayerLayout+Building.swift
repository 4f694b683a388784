internal import Tensors

/// Collects the modules of a layer in checkpoint order, and its folds.
struct LayoutBuilder {
  let hidden: Int
  var modules: [LayerLayout.Module] = []
  var folds: [Fold] = []

  init(hidden: Int) { self.hidden = hidden }

  mutating func norm(_ name: String?, _ shape: Int...) {
    if let name { modules.append(.norm(name, shape: Shape(shape))) }
  }

  mutating func linear(
    _ name: String, _ outFeatures: Int, _ inFeatures: Int, bias: Bool = false, feedsScores: Bool = false,
    isRouter: Bool = false, expert: Int? = nil, reads: String? = nil
  ) {
    var linear = LayerLayout.Linear(
      name: name, outFeatures: outFeatures, inFeatures: inFeatures, reads: reads ?? name)
    linear.bias = bias ? .own : .none
    linear.feedsScores = feedsScores
    linear.isRouter = isRouter
    linear.expert = expert
    modules.append(.linear(linear))
  }

  mutating func add(_ layer: LayerConfiguration) {
    let norms = layer.norms
    norm(norms.attentionInput, hidden)
    let attentionReaders: [String]
    let attentionBlock: LayerBlock = norms.isParallel ? .parallel : .attention
    switch layer.attention {
    case .grouped(let attention): attentionReaders = add(attention, attentionBlock)
    case .latent(let attention): attentionReaders = add(attention, attentionBlock)
    }
    norm(norms.attentionOutput, hidden)
    norm(norms.feedForwardInput, hidden)
    let feedForwardReaders: [String]
    let feedForwardBlock: LayerBlock = norms.isParallel ? .parallel : .feedForward
    switch layer.feedForward {
    case .dense(let feedForward):
      feedForwardReaders = add(feedForward, feedForwardBlock, reads: norms.isParallel ? attentionReaders[0] : nil)
    case .mixture(let mixture): feedForwardReaders = add(mixture, feedForwardBlock)
    }
    norm(norms.feedForwardOutput, hidden)
    if norms.isParallel {
      if let name = norms.attentionInput {
        folds.insert(Fold(.norm(name), into: attentionReaders + feedForwardReaders, block: .parallel), at: 0)
      }
      return
    }
    if let name = norms.attentionInput {
      folds.insert(Fold(.norm(name), into: attentionReaders, block: .attention), at: 0)
    }
    if let name = norms.feedForwardInput {
      let place = folds.firstIndex { $0.block == .feedForward } ?? folds.count
      folds.insert(Fold(.norm(name), into: feedForwardReaders, block: .feedForward), at: place)
    }
  }

  /// Adds attention; returns what reads its input.
  mutating func add(_ a: GroupedAttention, _ block: LayerBlock) -> [String] {
    let (queries, keys) = (a.heads * a.headDimension, a.keyValueHeads * a.headDimension)
    var readers: [String]
    let source: Fold.Source
    let repeats = a.heads / a.keyValueHeads
    if a.isFused {
      readers = ["self_attn.qkv_proj"]
      linear(readers[0], queries + 2 * keys, hidden, bias: a.hasQueryKeyValueBias, feedsScores: true)
      source = .rows(
        of: readers[0], .valueHeads(from: queries + keys, dimension: a.headDimension, repeats: repeats))
    } else {
      readers = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]
      linear(readers[0], queries, hidden, bias: a.hasQueryKeyValueBias, feedsScores: true)
      linear(readers[1], keys, hidden, bias: a.hasQueryKeyValueBias, feedsScores: true, reads: readers[0])
      linear(readers[2], keys, hidden, bias: a.hasQueryKeyValueBias, reads: readers[0])
      source = .rows(of: readers[2], .valueHeads(from: 0, dimension: a.headDimension, repeats: repeats))
    }
    if let norms = a.headNorms {
      for (name, heads) in [(norms.query, a.heads), (norms.key, a.keyValueHeads)] {
        switch norms.span {
        case .head: norm(name, a.headDimension)
        case .ownHead: norm(name, heads, a.headDimension)
        case .row: norm(name, heads * a.headDimension)
        }
      }
    }
    if a.hasSinks { modules.append(.vector("self_attn.sinks", count: a.heads)) }
    linear(a.outputName, hidden, queries, bias: a.hasOutputBias)
    // Scaled values would be clipped elsewhere.
    if a.clip == nil { folds.append(Fold(source, into: [a.outputName], block: block)) }
    return readers
  }

  mutating func add(_ a: LatentAttention, _ block: LayerBlock) -> [String] {
    var readers: [String] = []
    let queries = a.heads * a.headDimension
    if let rank = a.queryRank {
      readers.append("self_attn.q_a_proj")
      linear("self_attn.q_a_proj", rank, hidden, bias: a.hasBias, feedsScores: true)
      norm("self_attn.q_a_layernorm", rank)
      linear("self_attn.q_b_proj", queries, rank, feedsScores: true)
      folds.append(Fold(.norm("self_attn.q_a_layernorm"), into: ["self_attn.q_b_proj"], block: block))
    } else {
      readers.append("self_attn.q_proj")
      linear("self_attn.q_proj", queries, hidden, feedsScores: true)
    }
    readers.append("self_attn.kv_a_proj_with_mqa")
    linear(
      "self_attn.kv_a_proj_with_mqa", a.keyValueRank + a.rotaryDimension, hidden, bias: a.hasBias, feedsScores: true,
      reads: readers[0])
    norm("self_attn.kv_a_layernorm", a.keyValueRank)
    linear("self_attn.kv_b_proj", a.heads * (a.plainDimension + a.valueDimension), a.keyValueRank)
    linear("self_attn.o_proj", hidden, a.heads * a.valueDimension, bias: a.hasBias)
    folds.append(Fold(.norm("self_attn.kv_a_layernorm"), into: ["self_attn.kv_b_proj"], block: block))
    folds.append(
      Fold(
        .rows(of: "self_attn.kv_b_proj", .latentValues(plain: a.plainDimension, value: a.valueDimension)),
        into: ["self_attn.o_proj"], block: block))
    return readers
  }

  mutating func add(_ f: DenseFeedForward, _ block: LayerBlock, reads first: String? = nil) -> [String] {
    var readers: [String]
    let source: Fold.Source
    if f.isFused {
      readers = [f.prefix + "gate_up_proj"]
      linear(readers[0], 2 * f.width, hidden, bias: f.hasBias, reads: first)
      source = .rows(of: readers[0], .from(f.width))
    } else {
      readers = [f.prefix + "gate_proj", f.prefix + "up_proj"]
      for name in readers { linear(name, f.width, hidden, bias: f.hasBias, reads: first ?? readers[0]) }
      source = .rows(of: readers[1], .from(0))
    }
    linear(f.prefix + "down_proj", hidden, f.width, bias: f.hasBias)
    if f.gate.isLinearInUp { folds.append(Fold(source, into: [f.prefix + "down_proj"], block: block)) }
    return readers
  }

  mutating func add(_ m: MixtureOfExperts, _ block: LayerBlock) -> [String] {
    var readers = [m.router]
    linear(m.router, m.count, hidden, bias: m.hasRouterBias, isRouter: true)
    if let correction = m.routing.correction { modules.append(.vector(correction, count: m.count)) }
    for expert in 0..<m.count {
      switch m.storage {
      case .modules(let gate, let up, let down):
        let prefix = "\(m.prefix)\(expert)."
        linear(prefix + gate, m.width, hidden, expert: expert)
        linear(prefix + up, m.width, hidden, expert: expert, reads: prefix + gate)
        linear(prefix + down, hidden, m.width, expert: expert)
        readers += [prefix + gate, prefix + up]
        if m.gate.isLinearInUp {
          folds.append(Fold(.rows(of: prefix + up, .from(0)), into: [prefix + down], block: block, expert: expert))
        }
      case .stacked(let stacks): readers.append(add(stacks, expert, of: m, block))
      }
    }
    if let shared = m.shared {
      readers += add(shared.feedForward, block, reads: m.router)
      if let gate = shared.gateName {
        linear(gate, 1, hidden, isRouter: true, reads: m.router)
        readers.append(gate)
      }
    }
    return readers
  }

  /// Adds an expert out of stacks; returns what reads its input.
  private mutating func add(
    _ stacks: MixtureOfExperts.Stacks, _ expert: Int, of m: MixtureOfExperts, _ block: LayerBlock
  ) -> String {
    func stacked(_ module: String, _ rows: Int, _ columns: Int) -> LayerLayout.Linear {
      let name = "\(m.prefix)\(expert).\(module)"
      var linear = LayerLayout.Linear(name: name, outFeatures: rows, inFeatures: columns, reads: name)
      linear.stack = .init(
        tensor: m.prefix + module + stacks.suffix, index: expert, count: m.count, order: stacks.order)
      if stacks.hasBias { linear.bias = .row(of: m.prefix + module + "_bias", index: expert) }
      linear.expert = expert
      return linear
    }
    let gateUp = stacked(stacks.gateUp, 2 * m.width, hidden)
    let down = stacked(stacks.down, hidden, m.width)
    modules += [.linear(gateUp), .linear(down)]
    if m.gate.isLinearInUp && !stacks.takesTurns {
      folds.append(
        Fold(.rows(of: gateUp.name, .from(m.width)), into: [down.name], block: block, expert: expert))
    }
    return gateUp.name
  }
}
